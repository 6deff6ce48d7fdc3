//! Clusters of thousands of nodes in one process and virtual time: what a story costs, as a table.

#![allow(clippy::print_stdout, clippy::print_stderr)] // Talking to a person is what this program is for.

use std::process::ExitCode;
use std::time::Duration;

use caracal_sim::scale::{Account, Shape, Story, story};
use clap::{Parser, ValueEnum};
use peak_alloc::PeakAlloc;
use tabled::builder::Builder;
use tabled::settings::Style;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Lets a cluster live through stories in virtual time, checks after each that every node has each block and nothing
/// else, and says what it cost.
#[derive(Parser)]
#[command(name = "caracal-scale", version)]
struct Arguments {
    /// Nodes; several numbers, by commas, are one cluster after the other.
    #[arg(long, value_delimiter = ',', default_value = "5000")]
    nodes: Vec<usize>,
    /// Route reflectors, each of which has all nodes as clients; 0: the nodes are a mesh.
    #[arg(long, default_value_t = 4)]
    reflectors: usize,
    /// Blocks that each node announces.
    #[arg(long, default_value_t = 4)]
    blocks_per_node: usize,
    /// How many nodes have whole tables; the paths of the others are a bit for each reflector and block. In a mesh
    /// all are whole.
    #[arg(long, default_value_t = 20)]
    whole: usize,
    /// Each reflector is a cluster of its own (RFC 4456); else all have one CLUSTER_ID.
    #[arg(long)]
    own_clusters: bool,
    /// What a host's link carries.
    #[arg(long, default_value_t = 10)]
    gigabits_per_second: u64,
    /// Source of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What happens after the cold start; by commas. Nothing given: all.
    #[arg(long, value_delimiter = ',')]
    story: Vec<Name>,
    /// A table for Markdown.
    #[arg(long)]
    markdown: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Start,
    Change,
    RollingRestart,
    ReflectorLoss,
    Partition,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut failed = false;
    for &nodes in &arguments.nodes {
        let shape = arguments.shape(nodes);
        println!(
            "{nodes} nodes ({} whole), {} reflectors, {} blocks, {} sessions",
            shape.whole,
            shape.reflectors,
            shape.blocks(),
            shape.sessions()
        );
        let mut table = Builder::default();
        table.push_record(HEADINGS);
        let told = story::live(
            shape,
            &arguments.stories(),
            || HEAP.current_usage(),
            |account| {
                let row = row(account);
                // A large cluster takes its time: what is known already shall not be lost.
                eprintln!(
                    "{} s of a processor: {}",
                    account.processor.as_secs(),
                    row.join("; ")
                );
                table.push_record(row);
            },
        );
        let mut table = table.build();
        match arguments.markdown {
            true => table.with(Style::markdown()),
            false => table.with(Style::sharp()),
        };
        println!("{table}");
        match told {
            Ok(()) => println!("after each story every node had each block, and nothing else\n"),
            Err(wrong) => {
                eprintln!("caracal-scale: {nodes} nodes: {wrong}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

impl Arguments {
    fn shape(&self, nodes: usize) -> Shape {
        let is_mesh = self.reflectors == 0;
        Shape {
            reflectors: self.reflectors,
            nodes,
            whole: if is_mesh {
                nodes
            } else {
                self.whole.min(nodes)
            },
            blocks_per_node: self.blocks_per_node,
            own_clusters: self.own_clusters,
            octets_per_second: self.gigabits_per_second.max(1) * 125_000_000,
            seed: self.seed,
        }
    }

    fn stories(&self) -> Vec<Story> {
        if self.story.is_empty() {
            return Story::ALL.to_vec();
        }
        let named = self.story.iter().filter_map(|name| match name {
            Name::Start => None,
            Name::Change => Some(Story::Change),
            Name::RollingRestart => Some(Story::RollingRestart),
            Name::ReflectorLoss => Some(Story::ReflectorLoss),
            Name::Partition => Some(Story::Partition),
        });
        named.collect()
    }
}

const HEADINGS: [&str; 11] = [
    "story",
    "settled after s",
    "sessions up, down",
    "UPDATEs",
    "encoded",
    "to a node: messages (most)",
    "KiB (most)",
    "from a reflector: MiB, CPU s, heap MiB",
    "node: CPU ms",
    "node: heap MiB, peak (end)",
    "ways lost",
];

fn row(account: &Account) -> [String; 11] {
    let mib = |octets: usize| octets as f64 / f64::from(1 << 20);
    let seconds = |time: Duration| time.as_secs_f64();
    let reflector = match account.reflector_heap {
        0 => "-".to_owned(),
        heap => format!(
            "{:.1}, {:.2}, {:.1}",
            mib(account.reflector_sent.1 as usize),
            seconds(account.reflector_busy),
            mib(heap)
        ),
    };
    [
        account.story.to_owned(),
        format!("{:.3}", seconds(account.convergence)),
        format!("{}, {}", account.sessions.0, account.sessions.1),
        account.updates.to_string(),
        account.encodings.to_string(),
        format!("{} ({})", account.node_messages.0, account.node_messages.1),
        format!(
            "{:.1} ({:.1})",
            account.node_octets.0 as f64 / 1024.0,
            account.node_octets.1 as f64 / 1024.0
        ),
        reflector,
        format!("{:.1}", seconds(account.node_busy) * 1000.0),
        format!(
            "{:.2} ({:.2})",
            mib(account.node_heap.0),
            mib(account.node_heap.1)
        ),
        account.lost.to_string(),
    ]
}
