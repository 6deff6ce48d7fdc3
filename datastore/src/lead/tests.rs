//! Candidates, one of whom dies, is cut off, or hears late. Time is a number, and the store a struct.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::etcd::{EtcdElection, Holder, Leases};
use super::file::FileElection;
use super::kubernetes::{KubernetesElection, LeaseObjects};
use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn down() -> StoreError {
    StoreError::Unavailable {
        what: "store".to_owned(),
        why: "cut off".to_owned(),
    }
}

#[test]
fn tenure_counts_from_when_it_was_asked_for() {
    let mut tenure = Tenure::new(Terms::default());
    assert_eq!(tenure.pause(seconds(0)), seconds(60));
    tenure.answered(seconds(10), seconds(14), &Ok(Attempt::Ours));
    assert_eq!(tenure.held_until(seconds(14)), Some(seconds(25)));
    assert_eq!(tenure.pause(seconds(14)), seconds(5));
    // It is not renewed, and ends. The last attempt comes when it does.
    tenure.answered(seconds(19), seconds(23), &Err(down()));
    assert_eq!(tenure.pause(seconds(23)), seconds(2));
    assert_eq!(tenure.held_until(seconds(24)), Some(seconds(25)));
    assert_eq!(tenure.held_until(seconds(25)), None);
    // An answer that was on its way for longer than a tenure is worth nothing.
    tenure.answered(seconds(30), seconds(45), &Ok(Attempt::Ours));
    assert_eq!(tenure.held_until(seconds(45)), None);
    tenure.answered(seconds(50), seconds(51), &Ok(Attempt::Ours));
    tenure.answered(
        seconds(52),
        seconds(53),
        &Ok(Attempt::Others("b".to_owned())),
    );
    assert_eq!(tenure.held_until(seconds(53)), None);
}

/// etcd as far as seats go, with a clock that the test moves.
#[derive(Debug, Default)]
struct Server(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    now: u64,
    leases: Vec<(i64, u64)>,
    key: Option<Holder>,
    granted: i64,
}

impl State {
    fn expire(&mut self) {
        let now = self.now;
        self.leases.retain(|(_, until)| *until > now);
        let leases = &self.leases;
        let lives = |holder: &Holder| leases.iter().any(|(id, _)| *id == holder.lease);
        self.key = self.key.take().filter(lives);
    }
}

#[async_trait]
impl Leases for Server {
    async fn grant(&self, seconds: i64) -> Result<i64, StoreError> {
        let mut state = self.0.lock().unwrap();
        state.granted += 1;
        let (id, until) = (state.granted, state.now + seconds as u64);
        state.leases.push((id, until));
        Ok(id)
    }
    async fn renew(&self, lease: i64) -> Result<bool, StoreError> {
        let mut state = self.0.lock().unwrap();
        let until = state.now + 30;
        let mut leases = state.leases.iter_mut();
        let found = leases.find(|(id, _)| *id == lease);
        Ok(found.map(|found| found.1 = until).is_some())
    }
    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        let mut state = self.0.lock().unwrap();
        state.leases.retain(|(id, _)| *id != lease);
        state.expire();
        Ok(())
    }
    async fn holder(&self, _path: &str) -> Result<Option<Holder>, StoreError> {
        Ok(self.0.lock().unwrap().key.clone())
    }
    async fn claim(&self, _path: &str, who: &str, lease: i64) -> Result<bool, StoreError> {
        let mut state = self.0.lock().unwrap();
        let free = state.key.is_none() && state.leases.iter().any(|(id, _)| *id == lease);
        if free {
            state.key = Some(Holder {
                who: who.to_owned(),
                lease,
            });
        }
        Ok(free)
    }
}

/// An API server as far as Leases go.
#[derive(Debug, Default)]
struct ApiServer(Mutex<(u64, Option<Value>)>);

#[async_trait]
impl LeaseObjects for ApiServer {
    async fn get(&self, _name: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.0.lock().unwrap().1.clone())
    }
    async fn create(&self, lease: Value) -> Result<bool, StoreError> {
        let mut state = self.0.lock().unwrap();
        let free = state.1.is_none();
        if free {
            state.1 = Some(lease);
        }
        Ok(free)
    }
    async fn replace(&self, _name: &str, mut lease: Value) -> Result<bool, StoreError> {
        let mut state = self.0.lock().unwrap();
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        let same = state.1.as_ref().map(version) == Some(version(&lease));
        if same {
            state.0 += 1;
            lease["metadata"]["resourceVersion"] = Value::from(state.0.to_string());
            state.1 = Some(lease);
        }
        Ok(same)
    }
}

#[tokio::test]
async fn a_lease_reads_as_client_go_writes_it_and_keeps_what_others_wrote() {
    let server = Arc::new(ApiServer::default());
    let election = KubernetesElection::new(server.clone());
    let (mut one, mut two) = (election.seat("gc", "n1"), election.seat("gc", "n2"));
    let clock = AtomicU64::new(0);
    let clock: Clock<'_> = &|| seconds(clock.fetch_add(31, Ordering::Relaxed));
    assert_eq!(one.take(clock).await.unwrap(), Attempt::Ours);
    let mut lease = server.get("caracal-gc").await.unwrap().unwrap();
    let spec = lease["spec"].clone();
    assert!(spec["holderIdentity"].as_str().unwrap().starts_with("n1_"));
    assert_eq!(spec["leaseDurationSeconds"], 30);
    assert_eq!(spec["leaseTransitions"], 0);
    assert!(spec["renewTime"].as_str().unwrap().ends_with(".000000Z"));
    lease["metadata"]["labels"] = serde_json::json!({"mine": "yes"});
    assert!(server.replace("caracal-gc", lease).await.unwrap());
    // Its clock is wrong by years, which does not matter: it is renewed.
    let taken = Attempt::Others("n1".to_owned());
    assert_eq!(two.take(clock).await.unwrap(), taken);
    assert_eq!(one.take(clock).await.unwrap(), Attempt::Ours);
    assert_eq!(two.take(clock).await.unwrap(), taken);
    // Nobody has renewed it for 31 s.
    assert_eq!(two.take(clock).await.unwrap(), Attempt::Ours);
    let lease = server.get("caracal-gc").await.unwrap().unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    assert_eq!(lease["metadata"]["labels"]["mine"], "yes");
    assert!(matches!(one.take(clock).await.unwrap(), Attempt::Others(_)));
    two.leave().await;
    assert_eq!(one.take(clock).await.unwrap(), Attempt::Ours);
}

/// The stores with leases.
#[derive(Debug, Clone, Copy)]
enum Store {
    Etcd,
    Kubernetes,
}

/// Below `sides`.
fn roll(dice: &mut u64, sides: u64) -> u64 {
    *dice = dice
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % sides
}

/// One of those who want the seat. Its requests may be late, and so may the answers, or get lost.
struct Candidate {
    seat: Box<dyn Seat>,
    tenure: Tenure,
    next: u64,
    flight: Option<Flight>,
    /// Of each request and each answer.
    delay: u64,
    cut_off: bool,
    dead: bool,
}

struct Flight {
    asked: u64,
    arrives: u64,
    answer: Option<Result<Attempt, StoreError>>,
}

impl Candidate {
    fn new(election: &dyn Election, who: &str) -> Candidate {
        Candidate {
            seat: election.seat("gc", who),
            tenure: Tenure::new(Terms::default()),
            next: 0,
            flight: None,
            delay: 0,
            cut_off: false,
            dead: false,
        }
    }

    fn leads(&self, now: u64) -> bool {
        !self.dead && self.tenure.held_until(seconds(now)).is_some()
    }

    async fn tick(&mut self, now: u64) {
        if self.dead {
            return;
        }
        if self.flight.is_none() && now >= self.next {
            self.flight = Some(Flight {
                asked: now,
                arrives: now + self.delay,
                answer: None,
            });
        }
        let Some(flight) = &mut self.flight else {
            return;
        };
        if now < flight.arrives {
            return;
        }
        if flight.answer.is_none() {
            // What arrives is carried out, also when the answer is lost.
            let late = self.cut_off && self.delay == 0;
            let taken = match late {
                true => Err(down()),
                false => self.seat.take(&|| seconds(now)).await,
            };
            flight.answer = Some(if self.cut_off { Err(down()) } else { taken });
            flight.arrives = now + self.delay;
            if self.delay > 0 {
                return;
            }
        }
        if let Some(flight) = self.flight.take() {
            let answer = flight.answer.unwrap_or_else(|| Err(down()));
            self.tenure
                .answered(seconds(flight.asked), seconds(now), &answer);
            self.next = now + self.tenure.pause(seconds(now)).as_secs().max(1);
        }
    }
}

/// Moves a store's clock.
type SetTime = Box<dyn Fn(u64)>;

struct Scene {
    election: Box<dyn Election>,
    set_time: SetTime,
    candidates: Vec<Candidate>,
    now: u64,
}

impl Scene {
    fn new(store: Store, names: &[&str]) -> Scene {
        let (election, set_time): (Box<dyn Election>, SetTime) = match store {
            Store::Etcd => {
                let server = Arc::new(Server::default());
                let clock = Arc::clone(&server);
                let set_time = move |now| {
                    let mut state = clock.0.lock().unwrap();
                    state.now = now;
                    state.expire();
                };
                (Box::new(EtcdElection::new(server)), Box::new(set_time))
            }
            Store::Kubernetes => {
                let election = KubernetesElection::new(Arc::new(ApiServer::default()));
                (Box::new(election), Box::new(|_| {}))
            }
        };
        let candidates = names.iter().map(|who| Candidate::new(&*election, who));
        Scene {
            candidates: candidates.collect(),
            election,
            set_time,
            now: 0,
        }
    }

    /// One second. Nobody leads beside another.
    async fn tick(&mut self) {
        self.now += 1;
        (self.set_time)(self.now);
        for candidate in &mut self.candidates {
            candidate.tick(self.now).await;
        }
        assert!(self.leaders().len() < 2, "two leaders at {} s", self.now);
    }

    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.tick().await;
        }
    }

    fn disturb(&mut self, dice: &mut u64) {
        let index = usize::try_from(roll(dice, 3)).unwrap();
        let candidate = &mut self.candidates[index];
        match roll(dice, 6) {
            0 => candidate.cut_off = true,
            1 | 2 => candidate.cut_off = false,
            3 => candidate.delay = roll(dice, 9),
            4 => candidate.delay = 0,
            // Starts anew: what it believed is gone, its lease is not.
            _ => {
                *candidate = Candidate::new(&*self.election, "again");
                candidate.next = self.now + roll(dice, 10);
            }
        }
    }

    fn leaders(&self) -> Vec<usize> {
        let all = self.candidates.iter().enumerate();
        all.filter(|(_, one)| one.leads(self.now))
            .map(|(index, _)| index)
            .collect()
    }
}

#[tokio::test]
async fn when_the_leader_dies_another_follows_after_its_lease() {
    for store in [Store::Etcd, Store::Kubernetes] {
        let mut scene = Scene::new(store, &["a", "b"]);
        scene.pass(200).await;
        assert_eq!(scene.leaders(), [0]);
        scene.candidates[0].dead = true;
        scene.pass(24).await;
        assert_eq!(scene.leaders(), [] as [usize; 0]);
        scene.pass(125).await;
        assert_eq!(scene.leaders(), [1]);
    }
}

#[tokio::test]
async fn who_is_cut_off_stops_before_another_starts_and_is_a_candidate_again_later() {
    for store in [Store::Etcd, Store::Kubernetes] {
        let mut scene = Scene::new(store, &["a", "b"]);
        scene.pass(10).await;
        assert_eq!(scene.leaders(), [0]);
        scene.candidates[0].cut_off = true;
        let mut quiet = 0;
        while scene.leaders() != [1] {
            scene.tick().await;
            quiet += u64::from(scene.leaders().is_empty());
            assert!(scene.now < 200);
        }
        assert!(quiet >= 10, "{quiet} s without a leader");
        scene.candidates[0].cut_off = false;
        scene.pass(200).await;
        assert_eq!(scene.leaders(), [1]);
        // One that leaves needs not be waited for.
        scene.candidates[1].seat.leave().await;
        scene.candidates[1].dead = true;
        scene.pass(61).await;
        assert_eq!(scene.leaders(), [0]);
    }
}

#[tokio::test]
async fn no_delays_losses_and_deaths_make_two_leaders() {
    for store in [Store::Etcd, Store::Kubernetes] {
        let mut led = [0_u64; 3];
        for seed in 0..150 {
            let mut scene = Scene::new(store, &["a", "b", "c"]);
            let mut dice = seed;
            for _ in 0..40 {
                scene.disturb(&mut dice);
                for _ in 0..roll(&mut dice, 40) {
                    scene.tick().await;
                    for leader in scene.leaders() {
                        led[leader] += 1;
                    }
                }
            }
        }
        let all = led.iter().all(|seconds| *seconds > 1000);
        assert!(all, "{store:?}: {led:?}");
    }
}

#[tokio::test]
async fn a_folder_has_one_leader_who_is_named_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let election = FileElection::new(folder.path().to_owned());
    let mut one = election.seat("gc", "one");
    let mut two = election.seat("gc", "two");
    let mut other = election.seat("other", "two");
    assert_eq!(one.take(&since_boot).await.unwrap(), Attempt::Ours);
    let taken = two.take(&since_boot).await.unwrap();
    assert_eq!(taken, Attempt::Others("one".to_owned()));
    assert_eq!(other.take(&since_boot).await.unwrap(), Attempt::Ours);
    assert_eq!(one.take(&since_boot).await.unwrap(), Attempt::Ours);
    drop(one);
    assert_eq!(two.take(&since_boot).await.unwrap(), Attempt::Ours);
    // Whoever removes the file ends it: another could lock a new one.
    std::fs::remove_file(folder.path().join(".lead-gc")).unwrap();
    assert!(matches!(
        two.take(&since_boot).await.unwrap(),
        Attempt::Others(_)
    ));
    assert_eq!(two.take(&since_boot).await.unwrap(), Attempt::Ours);
    two.leave().await;
    let mut gone = FileElection::new(folder.path().join("nowhere")).seat("gc", "x");
    assert!(gone.take(&since_boot).await.is_err());
}

#[tokio::test]
async fn candidates_for_a_seat_in_a_folder_wake_nobody_who_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let election = FileElection::new(folder.path().to_owned());
    let mut one = election.seat("gc", "one");
    assert_eq!(one.take(&since_boot).await.unwrap(), Attempt::Ours);
    let mut inotify = inotify::Inotify::init().unwrap();
    let written = inotify::WatchMask::CLOSE_WRITE | inotify::WatchMask::ATTRIB;
    inotify.watches().add(folder.path(), written).unwrap();
    for _ in 0..3 {
        let taken = election.seat("gc", "two").take(&since_boot).await.unwrap();
        assert_eq!(taken, Attempt::Others("one".to_owned()));
        assert_eq!(one.take(&since_boot).await.unwrap(), Attempt::Ours);
    }
    let mut buffer = [0; 1024];
    let events = inotify.read_events(&mut buffer).map(Iterator::count);
    let nothing = events.map_err(|error| error.kind());
    assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
}

/// Answers as told, then says that it is another's.
#[derive(Debug, Clone)]
struct Scripted(Arc<Mutex<Vec<Attempt>>>);

#[async_trait]
impl Seat for Scripted {
    async fn take(&mut self, _clock: Clock<'_>) -> Result<Attempt, StoreError> {
        let next = self.0.lock().unwrap().pop();
        Ok(next.unwrap_or(Attempt::Others("x".to_owned())))
    }
    async fn leave(&mut self) {}
}

#[tokio::test]
async fn a_campaign_ends_in_leadership_and_leadership_when_another_has_the_seat() {
    let others = Attempt::Others("x".to_owned());
    let script = vec![Attempt::Ours, Attempt::Ours, others.clone(), others];
    let seat = Box::new(Scripted(Arc::new(Mutex::new(script))));
    let heard = Mutex::new(0);
    let terms = Terms {
        renewal: Duration::from_millis(1),
        candidacy: Duration::from_millis(1),
        ..Terms::default()
    };
    let mut leadership = stand(seat, terms, |_| *heard.lock().unwrap() += 1).await;
    assert!(leadership.holds());
    assert_eq!(*heard.lock().unwrap(), 3);
    let holds = leadership.holding();
    leadership.lost().await;
    assert!(!leadership.holds() && !holds());
}

#[test]
fn names_of_candidates_differ_and_can_be_read() {
    let (one, other) = (unique("node_1"), unique("node_1"));
    assert_ne!(one, other);
    assert_eq!(readable(&one), "node_1");
    assert_eq!(readable("somebody"), "somebody");
}
