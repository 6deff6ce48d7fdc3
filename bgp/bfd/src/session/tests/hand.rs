//! A session against a neighbour that the test plays by hand.

use super::*;
use crate::packet::Packet;
use crate::sessions::Sessions;

/// The neighbour's words; a test changes what it is about.
fn words(ours: SessionId, state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        finale: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: ours,
        your_discriminator: Some(ours),
        desired_min_tx: millis(300),
        required_min_rx: millis(300),
        required_min_echo_rx: Duration::ZERO,
    }
}

struct Hand {
    now: Time,
    sessions: Sessions,
    id: SessionId,
}

impl Hand {
    fn new() -> Hand {
        let mut sessions = Sessions::new(1);
        let id = sessions.set(Time::ZERO, config(0)).unwrap();
        Hand {
            now: Time::ZERO,
            sessions,
            id,
        }
    }

    fn up() -> Hand {
        let mut hand = Hand::new();
        hand.hear(words(hand.id, State::Init));
        // Its going up is a Poll Sequence: answer it.
        hand.hear(Packet {
            finale: true,
            ..words(hand.id, State::Up)
        });
        assert_eq!(hand.state(), State::Up);
        hand
    }

    /// The answers that come at once.
    fn hear(&mut self, packet: Packet) -> Vec<Packet> {
        let (source, destination) = ends(address(1), address(0));
        self.sessions
            .handle_packet(self.now, source, destination, 255, &packet.encode())
            .unwrap();
        self.sent()
    }

    /// What is sent until `span` is over.
    fn wait(&mut self, span: Duration) -> Vec<Packet> {
        let end = self.now + span;
        let mut sent = Vec::new();
        while let Some(at) = self.sessions.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.sessions.handle_timeout(at);
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    fn sent(&mut self) -> Vec<Packet> {
        let sent = std::iter::from_fn(|| self.sessions.poll_transmit(self.now));
        sent.map(|t| Packet::decode(&t.bytes).unwrap()).collect()
    }

    fn state(&self) -> State {
        self.sessions.view(self.now, self.id).unwrap().state
    }
}

#[test]
fn each_state_and_each_word_lead_where_the_table_says() {
    for state in State::ALL {
        for word in State::ALL {
            let mut hand = Hand::new();
            match state {
                State::AdminDown => {
                    let held = SessionConfig {
                        admin_down: true,
                        ..config(0)
                    };
                    hand.sessions.set(hand.now, held).unwrap();
                }
                State::Down => {}
                State::Init => drop(hand.hear(words(hand.id, State::Down))),
                State::Up => drop(hand.hear(words(hand.id, State::Init))),
            }
            assert_eq!(hand.state(), state);
            hand.hear(words(hand.id, word));
            assert_eq!(hand.state(), state::next(state, word), "{state}, {word}");
        }
    }
}

#[test]
fn a_poll_is_answered_at_once_in_every_state_but_admin_down() {
    for mut hand in [Hand::new(), Hand::up()] {
        let answer = hand.hear(Packet {
            poll: true,
            ..words(hand.id, State::Up)
        });
        let flags: Vec<(bool, bool)> = answer.iter().map(|p| (p.poll, p.finale)).collect();
        assert_eq!(flags, [(false, true)]);
    }
    let mut hand = Hand::new();
    let held = SessionConfig {
        admin_down: true,
        ..config(0)
    };
    hand.sessions.set(hand.now, held).unwrap();
    let answer = hand.hear(Packet {
        poll: true,
        ..words(hand.id, State::Down)
    });
    assert!(answer.iter().all(|p| !p.finale));
}

#[test]
fn an_answer_does_not_take_the_place_of_the_periodic_packet() {
    let mut asked = Hand::up();
    let mut left_alone = Hand::up();
    let poll = Packet {
        poll: true,
        ..words(asked.id, State::Up)
    };
    asked.hear(poll);
    left_alone.hear(words(left_alone.id, State::Up));
    let next = [
        asked.sessions.poll_timeout(),
        left_alone.sessions.poll_timeout(),
    ];
    assert_eq!(next[0], next[1]);
}

#[test]
fn a_neighbour_that_wants_no_packets_gets_none_but_answers() {
    let mut hand = Hand::up();
    let quiet = Packet {
        required_min_rx: Duration::ZERO,
        detect_multiplier: 255,
        ..words(hand.id, State::Up)
    };
    hand.hear(quiet.clone());
    assert_eq!(hand.wait(Duration::from_secs(30)), []);
    let answer = hand.hear(Packet {
        poll: true,
        ..quiet.clone()
    });
    assert_eq!(answer.len(), 1);
    // It wants them again.
    hand.hear(Packet {
        required_min_rx: millis(300),
        ..quiet
    });
    let sent = hand.wait(Duration::from_secs(30));
    assert!((100..=134).contains(&sent.len()), "{}", sent.len());
}

#[test]
fn a_neighbour_that_wanted_no_packets_and_fell_silent_is_called_again() {
    let mut hand = Hand::up();
    hand.hear(Packet {
        required_min_rx: Duration::ZERO,
        ..words(hand.id, State::Up)
    });
    hand.wait(millis(900));
    assert_eq!(hand.state(), State::Down);
    let sent = hand.wait(Duration::from_secs(10));
    assert!(sent.len() >= 9);
    assert!(sent.iter().all(|p| p.your_discriminator.is_none()));
}

#[test]
fn a_neighbour_in_demand_mode_gets_polls_only() {
    let mut hand = Hand::up();
    let demand = Packet {
        demand: true,
        detect_multiplier: 255,
        ..words(hand.id, State::Up)
    };
    hand.hear(demand.clone());
    assert_eq!(hand.wait(Duration::from_secs(30)), []);
    let changed = SessionConfig {
        min_rx: millis(100),
        ..config(0)
    };
    hand.sessions.set(hand.now, changed).unwrap();
    hand.sent();
    let sent = hand.wait(Duration::from_secs(3));
    assert!(sent.len() >= 9 && sent.iter().all(|p| p.poll));
    hand.hear(Packet {
        finale: true,
        ..demand
    });
    assert_eq!(hand.wait(Duration::from_secs(30)), []);
}

#[test]
fn a_final_that_nobody_asked_for_and_one_that_comes_too_early_end_nothing() {
    let mut hand = Hand::up();
    let finale = Packet {
        finale: true,
        ..words(hand.id, State::Up)
    };
    assert_eq!(hand.hear(finale.clone()), []);
    let slower = SessionConfig {
        min_tx: millis(900),
        ..config(0)
    };
    hand.sessions.set(hand.now, slower).unwrap();
    // It crosses with our question.
    let sent = hand.hear(finale.clone());
    assert!(sent.iter().all(|p| p.poll) && sent.len() == 1);
    let view = hand.sessions.view(hand.now, hand.id).unwrap();
    assert_eq!(view.transmit_interval_micros, Some(300_000));
    hand.hear(finale);
    let view = hand.sessions.view(hand.now, hand.id).unwrap();
    assert_eq!(view.transmit_interval_micros, Some(900_000));
}

#[test]
fn a_neighbour_that_asks_for_slower_packets_gets_them_at_once() {
    let mut hand = Hand::up();
    hand.wait(millis(400));
    hand.hear(Packet {
        required_min_rx: Duration::from_secs(5),
        desired_min_tx: Duration::from_secs(60),
        ..words(hand.id, State::Up)
    });
    assert_eq!(hand.wait(millis(3300)), []);
    assert_eq!(hand.wait(millis(1700)).len(), 1);
}

#[test]
fn a_new_discriminator_of_the_neighbour_is_taken_and_told() {
    let mut hand = Hand::up();
    let other = SessionId(std::num::NonZeroU32::MIN);
    let sent = hand.hear(Packet {
        my_discriminator: other,
        ..words(hand.id, State::Up)
    });
    let told: Vec<Option<SessionId>> = sent.iter().map(|p| p.your_discriminator).collect();
    assert_eq!(told, [Some(other)]);
}

#[test]
fn init_times_out_without_an_event() {
    let mut hand = Hand::new();
    hand.hear(words(hand.id, State::Down));
    assert_eq!(hand.state(), State::Init);
    hand.wait(millis(900));
    assert_eq!(hand.state(), State::Down);
    assert_eq!(hand.sessions.poll_event(), None);
}

#[test]
fn a_word_that_changes_nothing_is_not_answered() {
    let mut hand = Hand::up();
    for _ in 0..100 {
        assert_eq!(hand.hear(words(hand.id, State::Up)), []);
    }
}

#[test]
fn after_a_failure_the_reason_is_told_until_the_session_is_up_again() {
    let mut hand = Hand::up();
    hand.wait(millis(900));
    assert_eq!(hand.state(), State::Down);
    let told = |sent: Vec<Packet>| {
        let last = sent.into_iter().next_back();
        last.map(|p| (p.state, p.diagnostic))
    };
    let expired = Diagnostic::DETECTION_TIME_EXPIRED;
    let down = told(hand.wait(Duration::from_secs(2)));
    assert_eq!(down, Some((State::Down, expired)));
    let init = told(hand.hear(words(hand.id, State::Down)));
    assert_eq!(init, Some((State::Init, expired)));
    let up = told(hand.hear(words(hand.id, State::Up)));
    assert_eq!(up, Some((State::Up, Diagnostic::NONE)));
}

#[test]
fn a_session_that_goes_down_while_its_poll_is_open_sends_slowly_at_once() {
    let mut hand = Hand::up();
    let slower = SessionConfig {
        min_tx: millis(800),
        ..config(0)
    };
    hand.sessions.set(hand.now, slower).unwrap();
    assert!(hand.sent().iter().all(|p| p.poll));
    hand.hear(Packet {
        detect_multiplier: 255,
        ..words(hand.id, State::AdminDown)
    });
    let view = hand.sessions.view(hand.now, hand.id).unwrap();
    assert_eq!(view.transmit_interval_micros, Some(1_000_000));
}

#[test]
fn a_poll_that_nobody_is_left_to_answer_ends() {
    let mut hand = Hand::up();
    let slower = SessionConfig {
        min_tx: millis(800),
        ..config(0)
    };
    hand.sessions.set(hand.now, slower).unwrap();
    assert!(hand.wait(millis(800)).iter().all(|p| p.poll));
    hand.wait(millis(100));
    assert_eq!(hand.state(), State::Down);
    let sent = hand.wait(Duration::from_secs(5));
    assert!(sent.len() >= 4 && sent.iter().all(|p| !p.poll));
}
