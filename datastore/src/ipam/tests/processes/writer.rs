//! One writer: a process that takes and gives back addresses as an agent does for its pods, and dies at some write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;

use super::place::{Place, Site};
use super::{KEPT, number, variable};
use crate::ipam::collect::tests::{endpoint_key, record};
use crate::ipam::tests::*;
use crate::resources::Timestamp;
use crate::store::{Object, Revision, Watcher};

/// How many addresses a writer holds at once, at most.
const HELD_MAX: usize = 8;
/// A writer lives for so many writes, on average, unless it is said otherwise.
const WRITES_OF_A_LIFE: u64 = 30;

/// Ends the process at a certain write.
#[derive(Debug)]
struct Dying {
    store: Arc<dyn Datastore>,
    left: AtomicI64,
    moment: Moment,
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    Before,
    /// So long after it was begun, or when it is done, if that is sooner: between two steps of one write, perhaps.
    During(Duration),
    /// The last write is done, and its answer never seen.
    After,
}

impl Moment {
    fn any(dice: &mut Dice) -> Moment {
        match dice.roll(3) {
            0 => Moment::Before,
            1 => Moment::During(Duration::from_micros(50 << dice.roll(9))),
            _ => Moment::After,
        }
    }
}

impl Dying {
    async fn write<T>(&self, act: impl Future<Output = T>) -> T {
        let last = self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        match self.moment {
            Moment::Before if last => std::process::abort(),
            Moment::During(time) if last => {
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    std::process::abort();
                });
            }
            _ => {}
        }
        let result = act.await;
        if last {
            std::process::abort();
        }
        result
    }
}

#[async_trait]
impl Datastore for Dying {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.write(self.store.create(object)).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.write(self.store.update(object)).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.write(self.store.delete(key, revision)).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// Numbers from a seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// How far a writer is with a pod; or that it is lost itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    Takes,
    Has(IpAddr),
    Gives,
    Gone,
    Lost,
}

/// What a log says, line by line: a stage, and of which pod or node.
pub(super) fn lines(log: &str) -> impl Iterator<Item = (Stage, String)> {
    log.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["takes", pod] => (Stage::Takes, (*pod).to_owned()),
            ["has", pod, address] => (Stage::Has(address.parse().unwrap()), (*pod).to_owned()),
            ["gives", pod] => (Stage::Gives, (*pod).to_owned()),
            ["gone", pod] => (Stage::Gone, (*pod).to_owned()),
            ["lost", node] => (Stage::Lost, (*node).to_owned()),
            _ => panic!("{line:?}"),
        }
    })
}

/// The container of a pod has its name.
pub(super) fn handle(pod: &str) -> String {
    format!("net.{pod}")
}

/// What the pods of a node begin with.
pub(super) fn pods_of(node: &str) -> String {
    format!("{node}-")
}

/// One life of a writer.
struct Life {
    site: Site,
    ipam: Ipam,
    node: String,
    log: File,
    dice: Dice,
    held: BTreeMap<String, IpAddr>,
}

impl Life {
    fn note(&mut self, line: &str) {
        self.log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn request(&self, pod: &str) -> AssignRequest {
        let now = Timestamp::of(SystemTime::now()).to_string();
        let said = [
            ("node", self.node.as_str()),
            ("namespace", "default"),
            ("pod", pod),
            ("timestamp", &now),
        ];
        AssignRequest {
            handle: handle(pod),
            attributes: said
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ipv4: true,
            ..AssignRequest::default()
        }
    }

    /// The address first, then the record that says who uses it.
    async fn take(&mut self, pod: &str) {
        self.note(&format!("takes {pod}"));
        self.site.add_pod(pod, &self.node).await;
        let given = async {
            let given = self.ipam.assign(self.request(pod)).await?;
            let address = given[0].address;
            record(&*self.site.store, &self.node, pod, pod, &[address]).await?;
            Ok::<_, IpamError>(address)
        };
        match given.await {
            Ok(address) => {
                self.note(&format!("has {pod} {address}"));
                self.held.insert(pod.to_owned(), address);
            }
            // As the runtime does: what was tried is deleted.
            Err(error) => {
                eprintln!("{pod}: {error}");
                self.give(pod).await;
            }
        }
    }

    /// The record first, then the address.
    async fn give(&mut self, pod: &str) {
        self.note(&format!("gives {pod}"));
        self.held.remove(pod);
        let record = endpoint_key(&self.node, pod);
        loop {
            match self.site.store.delete(&record, None).await {
                Ok(()) | Err(StoreError::NotFound(_)) => break,
                Err(error) => eprintln!("{pod}: {error}"),
            }
        }
        while let Err(error) = self.ipam.release_handle(&handle(pod)).await {
            eprintln!("{pod}: {error}");
        }
        self.site.remove_pod(pod).await;
        self.note(&format!("gone {pod}"));
    }

    async fn give_any(&mut self) {
        let at = self.dice.roll(self.held.len().max(1) as u64) as usize;
        if let Some(pod) = self.held.keys().nth(at).cloned() {
            self.give(&pod).await;
        }
    }

    /// What an earlier life left half done. Returns how many pods there were.
    async fn take_up(&mut self, before: &str) -> usize {
        let prefix = pods_of(&self.node);
        let mut stages = BTreeMap::new();
        for (stage, pod) in lines(before).filter(|(_, pod)| pod.starts_with(&prefix)) {
            stages.insert(pod, stage);
        }
        for (pod, stage) in &stages {
            match stage {
                Stage::Gone | Stage::Lost => {}
                Stage::Gives => self.give(pod).await,
                // The runtime asks again, or has given up.
                Stage::Takes if self.dice.roll(2) == 0 => self.give(pod).await,
                Stage::Takes => self.take(pod).await,
                Stage::Has(address) if self.dice.roll(2) == 0 => {
                    self.held.insert(pod.clone(), *address);
                }
                Stage::Has(_) => self.take(pod).await,
            }
        }
        stages.len()
    }

    async fn live(&mut self, before: &str, rounds: usize) {
        let begun = self.take_up(before).await;
        self.tend().await;
        for round in begun..rounds {
            let pod = format!("{}{round}", pods_of(&self.node));
            self.take(&pod).await;
            while self.held.len() >= HELD_MAX || self.dice.roll(2) == 0 && !self.held.is_empty() {
                self.give_any().await;
            }
            if self.dice.roll(10) == 0 {
                self.tend().await;
            }
        }
        while self.held.len() > KEPT {
            self.give_any().await;
        }
    }

    async fn tend(&self) {
        if let Err(error) = self.ipam.tend().await {
            eprintln!("{}: {error}", self.node);
        }
    }
}

#[tokio::test]
#[ignore = "is a process of the tests beside it, which start it"]
async fn lives() {
    let Some(node) = variable("NODE") else {
        return;
    };
    let mut dice = Dice(number("SEED", 0));
    let mut site = Place::parse(&variable("STORE").unwrap()).open().await;
    site.store = Arc::new(Dying {
        left: AtomicI64::new(dice.roll(2 * number("LIFE", WRITES_OF_A_LIFE)) as i64 + 1),
        moment: Moment::any(&mut dice),
        store: site.store,
    });
    let path = variable("LOG").unwrap();
    let before = std::fs::read_to_string(&path).unwrap();
    let ipam = Ipam::new(Arc::clone(&site.store), node.clone());
    if dice.roll(2) == 0 {
        ipam.follow().await.unwrap();
    }
    let mut life = Life {
        site,
        ipam,
        node,
        log: OpenOptions::new().append(true).open(path).unwrap(),
        dice,
        held: BTreeMap::new(),
    };
    life.live(&before, number("ROUNDS", 0) as usize).await;
}
