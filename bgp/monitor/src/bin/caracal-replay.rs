//! Replays a record of a speaker, and says whether it does again what it did.

use std::fs::File;
use std::io::{BufReader, Write};
use std::process::ExitCode;

use caracal_bgp::Time;
use caracal_monitor::record::{Replayed, replay};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return say(USAGE, 2);
    };
    if path == "--help" || path == "-h" {
        return say(USAGE, 0);
    }
    let name = path.to_string_lossy().into_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => return say(&format!("{name}: {error}"), 2),
    };
    match replay(BufReader::new(file)) {
        Ok(Replayed { records, speaker }) => {
            let (peers, routes) = (speaker.peers(Time::ZERO).len(), speaker.routes_count());
            say(
                &format!(
                    "{name}: {records} records, all answers as recorded; at the end {peers} peers, {routes} routes"
                ),
                0,
            )
        }
        Err(error) => say(&format!("{name}: {error}"), 1),
    }
}

fn say(text: &str, code: u8) -> ExitCode {
    let out: &mut dyn Write = if code == 0 {
        &mut std::io::stdout()
    } else {
        &mut std::io::stderr()
    };
    // Nobody listens: the code says it as well.
    let _ = writeln!(out, "{text}");
    ExitCode::from(code)
}

const USAGE: &str = "\
usage: caracal-replay FILE
Replays a record that caracal-agent or caracal-route-reflector wrote (bgp.record).
Exit code: 0 all answers as recorded, 1 not so or no whole record, 2 no such file.";
