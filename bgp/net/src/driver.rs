//! The one task that owns the speaker.

mod sockets;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use caracal_bgp::tap::{TapConfig, Tapped};
use caracal_bgp::{Action, ConnectionId, Event, Speaker, Time};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::connection::{Hands, Link};
use crate::journal::Journal;
use crate::listener;
use crate::options::{OptionsError, OptionsTable, SessionOptions};
use crate::places::{PLACES_MAX, Place};
use crate::recorder::{Recorder, Recording};
use crate::shell::{Admission, COMMANDS_MAX, RouteFollower, Shared};
use crate::socket;

use sockets::Attempt;

/// From the network.
#[derive(Debug)]
pub(crate) enum Input {
    /// Someone connected to us.
    Incoming {
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// An attempt of ours succeeded.
    Connected {
        connection: ConnectionId,
        stream: TcpStream,
        local: SocketAddr,
    },
    /// It did not.
    ConnectFailed {
        connection: ConnectionId,
        reason: String,
    },
    /// Bytes arrived.
    Bytes {
        connection: ConnectionId,
        bytes: Box<[u8]>,
        /// Dropped when they are handled: the connection may read on.
        turn: OwnedSemaphorePermit,
    },
    /// A buffer is written; the connection can take another.
    Written {
        connection: ConnectionId,
        buffer: Vec<u8>,
    },
    /// The connection ended.
    Ended {
        connection: ConnectionId,
        reason: String,
    },
}

/// From the handles.
pub(crate) enum Command {
    /// Run this.
    With(Closure),
    /// Connections with these peers shall be like this.
    SetOptions {
        peers: IpNet,
        options: Option<SessionOptions>,
        reply: oneshot::Sender<Result<(), OptionsError>>,
    },
    /// Take route changes so.
    FollowRoutes(RouteFollower),
    /// Hand over what is tapped.
    Tap {
        config: TapConfig,
        out: mpsc::Sender<Vec<Tapped>>,
    },
    /// Write down what is done.
    Record(Recording),
    /// End.
    Stop { keep_forwarding: bool },
}

/// What runs where the speaker is.
pub(crate) type Closure = Box<dyn FnOnce(&mut Speaker, Time) + Send>;

/// Owns the speaker and knows what each of its connections is doing.
pub(crate) struct Driver {
    speaker: Speaker,
    commands: mpsc::Receiver<Command>,
    inputs: mpsc::Receiver<Input>,
    /// For the tasks that are started.
    inputs_out: mpsc::Sender<Input>,
    events: broadcast::Sender<Event>,
    /// Who takes route changes.
    follower: Option<RouteFollower>,
    /// Some peer shall be watched by BFD.
    wishes_bfd: watch::Sender<bool>,
    shared: Arc<Shared>,
    admission: Option<Admission>,
    journal: Journal,
    options: OptionsTable,
    listeners: Vec<(Arc<TcpListener>, SocketAddr)>,
    attempts: HashMap<ConnectionId, Attempt>,
    links: HashMap<ConnectionId, Link>,
    /// Connections that have something to send and room for it, in order of their turn.
    transmitters: VecDeque<ConnectionId>,
    /// Attempts and connections; closed ones until their last words are out.
    tasks: JoinSet<()>,
    /// Who watches.
    tap: Option<mpsc::Sender<Vec<Tapped>>>,
    /// Something that was tapped waits for room there.
    tap_waits: bool,
    recorder: Option<Recorder>,
    /// Rings at the speaker's next deadline or before it: most messages put a deadline off, and it costs less to wake up
    /// once for nothing than to set the alarm anew each time.
    alarm: Pin<Box<Sleep>>,
    is_alarm_set: bool,
    hands: Hands,
    /// Buffers that came back, to be filled again.
    spare: Vec<Vec<u8>>,
}

/// What a turn begins with.
enum Occasion {
    Input(Input),
    Command(Command),
    /// A deadline, or something that the last turn left over.
    Time,
}

impl Driver {
    pub(crate) fn new(
        speaker: Speaker,
        commands: mpsc::Receiver<Command>,
        events: broadcast::Sender<Event>,
        wishes_bfd: watch::Sender<bool>,
        shared: Arc<Shared>,
        admission: Option<Admission>,
        options: OptionsTable,
    ) -> Driver {
        let (inputs_out, inputs) = mpsc::channel(INPUTS_MAX);
        Driver {
            speaker,
            commands,
            inputs,
            inputs_out,
            events,
            follower: None,
            wishes_bfd,
            shared,
            admission,
            journal: Journal::default(),
            options,
            listeners: Vec::new(),
            attempts: HashMap::new(),
            links: HashMap::new(),
            transmitters: VecDeque::new(),
            tasks: JoinSet::new(),
            tap: None,
            tap_waits: false,
            recorder: None,
            alarm: Box::pin(sleep_until(Instant::now())),
            is_alarm_set: false,
            hands: Hands::default(),
            spare: Vec::new(),
        }
    }

    /// Runs until it is told to stop, or every handle is gone.
    pub(crate) async fn run(mut self, listeners: Vec<(TcpListener, SocketAddr)>) {
        let mut accepting = JoinSet::new();
        for (listener, address) in listeners {
            let listener = Arc::new(listener);
            self.listeners.push((listener.clone(), address));
            accepting.spawn(listener::accept(listener, address, self.inputs_out.clone()));
        }
        // The speaker may have been given peers before it came here.
        self.look_at_bfd();
        self.drain();
        let keep_forwarding = loop {
            let occasion = self.wait().await;
            if let Some(keep_forwarding) = self.turn(occasion) {
                break keep_forwarding;
            }
        };
        accepting.shutdown().await;
        self.listeners.clear();
        self.stop(keep_forwarding).await;
    }

    async fn wait(&mut self) -> Occasion {
        let to_follow = self.follower.is_some() && self.speaker.has_route_changes();
        if to_follow || !self.transmitters.is_empty() {
            // On one thread the connections must get a chance to write what they have been given.
            tokio::task::yield_now().await;
            return Occasion::Time;
        }
        let deadline = self.speaker.poll_timeout().map(|at| self.instant(at));
        if let Some(at) = deadline
            && (!self.is_alarm_set || at < self.alarm.deadline())
        {
            // What is due already rings at once.
            self.alarm.as_mut().reset(at);
            self.is_alarm_set = true;
        }
        tokio::select! {
            command = self.commands.recv() => Occasion::Command(command.unwrap_or(ALL_HANDLES_GONE)),
            Some(input) = self.inputs.recv() => Occasion::Input(input),
            () = room(self.tap.as_ref().filter(|_| self.tap_waits)) => Occasion::Time,
            () = self.alarm.as_mut(), if self.is_alarm_set => {
                self.is_alarm_set = false;
                Occasion::Time
            }
            Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => Occasion::Time,
        }
    }

    /// Some inputs, then everything that follows from them. `Some`: stop.
    fn turn(&mut self, occasion: Occasion) -> Option<bool> {
        let mut stop = None;
        let mut octets = 0;
        match occasion {
            Occasion::Input(input) => octets += self.handle_input(input),
            Occasion::Command(command) => stop = self.handle_command(command),
            Occasion::Time => {}
        }
        for _ in 0..INPUTS_MAX {
            if octets >= READ_OCTETS_MAX {
                break;
            }
            let Ok(input) = self.inputs.try_recv() else {
                break;
            };
            octets += self.handle_input(input);
        }
        for _ in 0..COMMANDS_MAX {
            if stop.is_some() {
                break;
            }
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            stop = self.handle_command(command);
        }
        // After the inputs: a keepalive that has arrived counts before the hold timer does.
        let now = self.shared.now();
        if self.speaker.poll_timeout().is_some_and(|at| at <= now) {
            self.speaker.handle_timeout(now);
        }
        while self.tasks.try_join_next().is_some() {}
        self.drain();
        stop
    }

    fn handle_command(&mut self, command: Command) -> Option<bool> {
        match command {
            Command::With(closure) => {
                closure(&mut self.speaker, self.shared.now());
                self.look_at_bfd();
                None
            }
            Command::SetOptions {
                peers,
                options,
                reply,
            } => {
                let _ = reply.send(self.set_options(peers, options));
                None
            }
            Command::FollowRoutes(follower) => {
                self.follower = Some(follower);
                None
            }
            Command::Tap { config, out } => {
                self.speaker.set_tap(Some(config));
                self.tap = Some(out);
                None
            }
            Command::Record(recording) => {
                self.recorder = Some(Recorder::start(recording));
                None
            }
            Command::Stop { keep_forwarding } => Some(keep_forwarding),
        }
    }

    /// Where peers may be others than before.
    fn look_at_bfd(&self) {
        let wishes = self.speaker.bfd_wishes().next().is_some();
        self.wishes_bfd
            .send_if_modified(|before| std::mem::replace(before, wishes) != wishes);
    }

    /// How many octets it brought.
    fn handle_input(&mut self, input: Input) -> usize {
        let now = self.shared.now();
        let mut octets = 0;
        match input {
            Input::Incoming {
                stream,
                local,
                remote,
            } => self.handle_incoming(now, stream, local, remote),
            Input::Connected {
                connection,
                stream,
                local,
            } => {
                // Otherwise it was called off meanwhile.
                if let Some(attempt) = self.attempts.remove(&connection) {
                    // It may have begun with options that are changed by now.
                    attempt.task.abort();
                    let place = self.shared.places.take_own(attempt.remote);
                    let remote = attempt.remote.ip();
                    let options = self.options.of(remote);
                    match options.map_or(Ok(()), |options| options.apply(&stream, remote)) {
                        Ok(()) => {
                            self.open(connection, stream, remote, place);
                            self.speaker.handle_connected(now, connection, local);
                        }
                        Err(error) => {
                            let reason = socket::in_words(&error);
                            self.speaker.handle_connect_failed(now, connection, &reason);
                        }
                    }
                }
            }
            Input::ConnectFailed { connection, reason } => {
                if self.attempts.remove(&connection).is_some() {
                    self.speaker.handle_connect_failed(now, connection, &reason);
                }
            }
            Input::Bytes {
                connection,
                bytes,
                turn,
            } => {
                if self.links.contains_key(&connection) {
                    self.speaker.handle_bytes(now, connection, &bytes);
                }
                octets = bytes.len();
                drop(turn);
            }
            Input::Written { connection, buffer } => {
                self.keep(buffer);
                if let Some(link) = self.links.get_mut(&connection) {
                    link.writing = false;
                    if link.more {
                        self.transmitters.push_back(connection);
                    }
                }
            }
            Input::Ended { connection, reason } => {
                if self.links.remove(&connection).is_some() {
                    self.speaker.handle_closed(now, connection, &reason);
                }
            }
        }
        // At once, so that bytes for a connection that the speaker has given up are not handed to it.
        self.perform();
        octets
    }

    fn handle_incoming(
        &mut self,
        now: Time,
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let place = self.shared.places.take(remote);
        if place.is_none() {
            let reason = format!("{remote}: has {PLACES_MAX} connections already");
            self.refuse(stream, remote, &reason);
            return;
        }
        if let Some(admission) = &mut self.admission {
            admission(&mut self.speaker, now, remote.ip());
            self.look_at_bfd();
        }
        // Before the speaker, which might give up another connection for this one.
        let options = self.options.of(remote.ip());
        let fit = options.map_or(Ok(()), |options| options.admit(&stream, remote.ip()));
        let fit = fit.and_then(|()| self.interface_of(&stream, remote));
        let taken = match fit {
            Ok(interface) => {
                let interface = interface.as_deref();
                self.speaker
                    .handle_incoming_over(now, local, remote, interface)
            }
            Err(reason) => {
                self.tell(Event::ConnectionFailed {
                    peer: None,
                    remote: remote.ip(),
                    reason: reason.clone(),
                });
                Err(reason)
            }
        };
        match taken {
            Ok(connection) => {
                // A connection that is gone already says so when it is read.
                let _ = socket::prepare(&stream);
                if self.options.of(remote.ip()).is_none() {
                    // It has the listener's TTL and, after a removal, perhaps its key.
                    let _ = SessionOptions::default().apply(&stream, remote.ip());
                }
                self.open(connection, stream, remote.ip(), place);
            }
            Err(reason) => self.refuse(stream, remote, &reason),
        }
    }

    /// By a reset: a farewell would leave the connection with the kernel for a minute, and there may be
    /// thousands a second.
    fn refuse(&mut self, stream: TcpStream, remote: SocketAddr, reason: &str) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_zero_linger();
        drop(stream);
        self.journal.refused(remote, reason);
    }

    fn open(
        &mut self,
        connection: ConnectionId,
        stream: TcpStream,
        remote: IpAddr,
        place: Option<Place>,
    ) {
        let (inputs, helpers) = (self.inputs_out.clone(), self.shared.helpers.clone());
        let (link, task) = Link::new(connection, stream, remote, place, inputs, helpers);
        self.links.insert(connection, link);
        self.tasks.spawn(task);
    }

    /// Outputs, in the order that the speaker asks for.
    fn drain(&mut self) {
        self.perform();
        // Before anything is sent: what is announced is forwarded first, and the kernel works meanwhile.
        if let Some(follower) = &mut self.follower
            && self.speaker.has_route_changes()
        {
            follower(&mut self.speaker);
        }
        while let Some(connection) = self.speaker.poll_ready() {
            if let Some(link) = self.links.get_mut(&connection) {
                // `more` already: it is in the queue, or comes into it when its buffer is written.
                if !std::mem::replace(&mut link.more, true) && !link.writing {
                    self.transmitters.push_back(connection);
                }
            }
        }
        for _ in 0..TRANSMISSIONS_MAX {
            let Some(connection) = self.transmitters.pop_front() else {
                break;
            };
            self.transmit(connection);
        }
        while let Some(event) = self.speaker.poll_event() {
            self.journal.record(&self.speaker, &event);
            self.tell(event);
        }
        self.hand_over();
    }

    fn tell(&mut self, event: Event) {
        if self.journal.is_worth_telling(&event) {
            // It fails when nobody listens, which is fine.
            let _ = self.events.send(event);
        }
    }

    /// For those who watch, and for the record.
    fn hand_over(&mut self) {
        if let Some(recorder) = &self.recorder
            && !recorder.take(&mut self.speaker)
        {
            self.speaker.set_recording(self.shared.now(), false);
            self.recorder = None;
        }
        let Some(tap) = &self.tap else {
            return;
        };
        let mut given_up = tap.is_closed();
        self.tap_waits = false;
        match tap.try_reserve() {
            Ok(place) => {
                let tapped = std::iter::from_fn(|| self.speaker.poll_tap());
                let batch: Vec<Tapped> = tapped.take(TAPPED_MAX).collect();
                self.tap_waits = batch.len() == TAPPED_MAX;
                if !batch.is_empty() {
                    place.send(batch);
                }
            }
            Err(_) => {
                self.tap_waits = true;
                given_up |= self.speaker.tapped_waiting() > TAPPED_WAITING_MAX;
            }
        }
        if given_up {
            // It learns of it when it has taken what is on its way.
            self.speaker.set_tap(None);
            self.tap = None;
            self.tap_waits = false;
        }
    }

    fn perform(&mut self) {
        while let Some(action) = self.speaker.poll_action() {
            match action {
                Action::Connect {
                    connection,
                    remote,
                    local,
                    interface,
                    ..
                } => self.connect(connection, remote, local, interface),
                Action::Close { connection } => self.close(connection),
            }
        }
    }

    fn transmit(&mut self, connection: ConnectionId) {
        let Some(link) = self.links.get_mut(&connection) else {
            return;
        };
        let mut buffer = self.spare.pop().unwrap_or_default();
        let now = self.shared.now();
        link.more = self
            .speaker
            .poll_transmit(now, connection, &mut buffer, WRITE_OCTETS_MAX);
        if buffer.len() <= WRITE_HERE_OCTETS_MAX || self.hands.full() >= HANDS_MAX {
            buffer.drain(..link.try_write(&buffer));
        }
        if !buffer.is_empty() {
            link.send(buffer, &self.hands);
            return;
        }
        if link.more {
            self.transmitters.push_back(connection);
        }
        self.keep(buffer);
    }

    /// What is pending goes out first: a NOTIFICATION, as a rule.
    fn close(&mut self, connection: ConnectionId) {
        if let Some(attempt) = self.attempts.remove(&connection) {
            attempt.task.abort();
        }
        if let Some(link) = self.links.remove(&connection) {
            let mut last = Vec::new();
            let now = self.shared.now();
            while self
                .speaker
                .poll_transmit(now, connection, &mut last, WRITE_OCTETS_MAX)
                && last.len() < LAST_OCTETS_MAX
            {}
            link.close(last, &self.hands);
        }
    }

    async fn stop(mut self, keep_forwarding: bool) {
        self.speaker
            .shut_down(self.shared.now(), keep_forwarding, "the speaker stops");
        self.drain();
        for (_, attempt) in self.attempts.drain() {
            attempt.task.abort();
        }
        // The speaker has closed them all; if not, this does.
        self.links.clear();
        let _ = timeout(STOP_PATIENCE, async {
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => if ended.is_none() { break },
                    // They wait for places in the channel before they can end.
                    _ = self.inputs.recv() => {}
                }
            }
        })
        .await;
        if let Some(recorder) = self.recorder.take() {
            recorder.finish().await;
        }
        // Dropping `commands` tells the handles.
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    fn instant(&self, at: Time) -> Instant {
        self.shared.epoch + Duration::from_micros(at.as_micros()).min(FAR_FUTURE)
    }
}

/// Nobody is left to say otherwise, and routes that stay do less harm than routes that go.
const ALL_HANDLES_GONE: Command = Command::Stop {
    keep_forwarding: true,
};

/// Places in the input channel, each for up to 64 KiB; also the share of inputs in a turn.
const INPUTS_MAX: usize = 64;
/// And so many octets: timers and transmissions wait no longer than it takes to decode them.
const READ_OCTETS_MAX: usize = 256 * 1024;
const TRANSMISSIONS_MAX: usize = 64;
/// In a buffer: larger ones are hardly cheaper for the kernel, and a thousand peers that read slowly hold one each.
const WRITE_OCTETS_MAX: usize = 32 * 1024;
/// What is written at once: to wake the connection's task costs more than that. More is for another core to copy.
const WRITE_HERE_OCTETS_MAX: usize = 8 * 1024;
/// Large buffers that others write at a time: enough for some cores. Beyond that the driver writes as well, or a table for five
/// hundred clients would have as many buffers at once; only what a socket has no room for is handed over all the same.
const HANDS_MAX: usize = 16;
const LAST_OCTETS_MAX: usize = 1024 * 1024;
const SPARE_MAX: usize = 4;
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// Added to an instant it must not overflow.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 10);
/// In one batch for those who watch.
const TAPPED_MAX: usize = 1024;
/// Messages that wait for those who watch.
const TAPPED_WAITING_MAX: usize = 65_536;

/// Returns when there is room.
async fn room(out: Option<&mpsc::Sender<Vec<Tapped>>>) {
    match out {
        // Closed is for `hand_over` to see.
        Some(out) => drop(out.reserve().await),
        None => std::future::pending().await,
    }
}
