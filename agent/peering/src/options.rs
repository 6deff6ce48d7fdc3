//! What an operator may say about a session, beside who the peer is: the same words in the reflector's file, in the
//! annotation of a BGPPeer, and for the mesh in the agent's file. docs/operation/session-options.md has them in a table.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use caracal_bgp::config::{AddPath, PathsSent, bfd};
use caracal_bgp::wire::{Family, Role};
use caracal_bgp::{BfdConfig, LocalAs, NextHopMode, PeerConfig, Policy, PrefixLimit};
use caracal_datastore::Metadata;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::Track;

/// An annotation of a BGPPeer with [`PeerOptions`] in YAML or JSON. Calico's BGPPeer has no fields for them.
pub const ANNOTATION: &str = "bgp.caracal.network/session";

/// Options of a session; what is not said stays as it is. The fields are those of [`PeerConfig`], which explains them.
/// Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    default,
    remote = "Self"
)]
#[allow(missing_docs, reason = "each is explained in PeerConfig")]
pub struct PeerOptions {
    pub shutdown: Option<String>,
    pub passive: Option<bool>,
    #[serde(deserialize_with = "said_address")]
    pub local_address: Option<IpAddr>,
    pub interface: Option<String>,
    pub families: Option<Vec<Family>>,
    pub hold_time: Option<Seconds>,
    pub connect_retry: Option<Seconds>,
    /// Zero: at once.
    pub delay_open: Option<Seconds>,
    pub damp_oscillations: Option<bool>,
    pub idle_hold_max: Option<Seconds>,
    #[serde(deserialize_with = "by_family")]
    pub prefix_limits: Option<BTreeMap<Family, PrefixLimit>>,
    #[serde(deserialize_with = "by_family")]
    pub prefix_limits_out: Option<BTreeMap<Family, usize>>,
    pub role: Option<Role>,
    pub role_strict: Option<bool>,
    pub local_as: Option<LocalAs>,
    pub allow_own_as: Option<u8>,
    pub next_hop: Option<NextHopMode>,
    /// It is our client (RFC 4456), whatever the cluster ids say.
    pub client: Option<bool>,
    pub change_reflected: Option<bool>,
    /// Zero: not offered.
    pub graceful_restart: Option<Seconds>,
    /// Zero: not offered.
    pub long_lived: Option<Seconds>,
    pub long_lived_partial: Option<bool>,
    pub stale_path_time: Option<Seconds>,
    pub extended_messages: Option<bool>,
    pub extended_next_hop: Option<bool>,
    pub graceful_shutdown: Option<bool>,
    pub honour_graceful_shutdown: Option<bool>,
    pub add_path: Option<AddPath>,
    #[serde(deserialize_with = "said_bfd")]
    pub bfd: Option<Option<BfdConfig>>,
    pub import: Option<Policy>,
    pub export: Option<Policy>,
}

/// A time as it is written: `90`, or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Seconds(pub Duration);

impl PeerOptions {
    /// What is said, checked. The error is one sentence with key and value.
    pub fn of(said: Value) -> Result<PeerOptions, String> {
        let mut track = Track::new();
        let tracked = serde_path_to_error::Deserializer::new(said, &mut track);
        // The derived one, which `remote` has made of it.
        let read = PeerOptions::deserialize(tracked);
        let options = read.map_err(|fault| at(&track.path().to_string(), &fault.to_string()))?;
        options.check()?;
        Ok(options)
    }

    /// What the annotation says; the error names its value. Nothing: no options.
    pub fn of_annotation(metadata: &Metadata) -> Result<PeerOptions, String> {
        let Some(text) = metadata.annotations.get(ANNOTATION) else {
            return Ok(PeerOptions::default());
        };
        let read: Result<Value, _> = serde_saphyr::from_str(text);
        let read = read.map_err(|fault| fault.without_snippet().to_string());
        read.and_then(PeerOptions::of)
            .map_err(|why| format!("annotation {ANNOTATION}: `{text}`: {why}"))
    }

    /// Whether the annotation of a BGPPeer can be followed. Whoever takes resources in asks this first and keeps the
    /// BGPPeer as it was otherwise: without its options a peer might be let in that an operator keeps out.
    pub fn check_annotation(metadata: &Metadata) -> Result<(), String> {
        PeerOptions::of_annotation(metadata).map(drop)
    }

    /// These, without those that only an external or only an internal peer can have.
    pub(crate) fn for_anybody(&self) -> PeerOptions {
        PeerOptions {
            client: None,
            role: None,
            role_strict: None,
            local_as: None,
            ..self.clone()
        }
    }

    /// Changes the configuration to what is said.
    pub fn apply(&self, config: &mut PeerConfig) {
        let PeerOptions {
            shutdown,
            passive,
            local_address,
            interface,
            families,
            hold_time,
            connect_retry,
            delay_open,
            damp_oscillations,
            idle_hold_max,
            prefix_limits,
            prefix_limits_out,
            role,
            role_strict,
            local_as,
            allow_own_as,
            next_hop,
            client,
            change_reflected,
            graceful_restart,
            long_lived,
            long_lived_partial,
            stale_path_time,
            extended_messages,
            extended_next_hop,
            graceful_shutdown,
            honour_graceful_shutdown,
            add_path,
            bfd,
            import,
            export,
        } = self;
        let some = |said: &Option<Seconds>| said.map(|Seconds(time)| time);
        let or_off =
            |said: &Option<Seconds>| some(said).map(|time| (!time.is_zero()).then_some(time));
        set(&mut config.shutdown, &shutdown.clone().map(Some));
        set(&mut config.passive, passive);
        set(&mut config.local_address, &local_address.map(Some));
        set(&mut config.interface, &interface.clone().map(Some));
        set(&mut config.families, families);
        set(&mut config.hold_time, &some(hold_time));
        set(&mut config.connect_retry, &some(connect_retry));
        set(&mut config.delay_open, &or_off(delay_open));
        set(&mut config.damp_oscillations, damp_oscillations);
        set(&mut config.idle_hold_max, &some(idle_hold_max));
        set(&mut config.prefix_limits, prefix_limits);
        set(&mut config.prefix_limits_out, prefix_limits_out);
        set(&mut config.role, &role.map(Some));
        set(&mut config.role_strict, role_strict);
        set(&mut config.local_as, local_as);
        set(&mut config.allow_own_as, allow_own_as);
        set(&mut config.next_hop, next_hop);
        set(&mut config.reflector_client, client);
        set(&mut config.change_reflected, change_reflected);
        set(&mut config.graceful_restart, &or_off(graceful_restart));
        set(&mut config.long_lived, &or_off(long_lived));
        set(&mut config.long_lived_partial, long_lived_partial);
        set(&mut config.stale_path_time, &some(stale_path_time));
        set(&mut config.extended_messages, extended_messages);
        set(&mut config.extended_next_hop, extended_next_hop);
        set(&mut config.graceful_shutdown, graceful_shutdown);
        set(
            &mut config.honour_graceful_shutdown,
            honour_graceful_shutdown,
        );
        set(&mut config.add_path, add_path);
        set(&mut config.bfd, bfd);
        set(&mut config.import, import);
        set(&mut config.export, export);
    }

    /// Whether a peer can have them: some are between ASes only (RFC 9234 §3, RFC 7705 §3), and clients are inside one.
    pub fn check_for(&self, internal: bool) -> Result<(), String> {
        if !internal {
            return match self.client {
                Some(true) => Err(
                    "client: true: a client has our AS number, and the peer has another".to_owned(),
                ),
                _ => Ok(()),
            };
        }
        let key = match self {
            PeerOptions {
                role: Some(role), ..
            } => format!("role: {role}"),
            PeerOptions {
                role_strict: Some(true),
                ..
            } => "roleStrict: true".to_owned(),
            PeerOptions {
                local_as: Some(_), ..
            } => "localAs".to_owned(),
            _ => return Ok(()),
        };
        Err(format!(
            "{key}: is for external peers only, and the peer has our AS number"
        ))
    }

    fn check(&self) -> Result<(), String> {
        let within = |key: &str, said: Option<Seconds>, least: u64, most: u64| match said {
            Some(Seconds(time))
                if time < Duration::from_secs(least) || time > Duration::from_secs(most) =>
            {
                let seconds = time.as_secs_f64();
                Err(format!(
                    "{key}: {seconds} is not between {least} and {most} seconds"
                ))
            }
            _ => Ok(()),
        };
        if let Some(Seconds(time)) = self.hold_time
            && (time.subsec_nanos() != 0 || (1..3).contains(&time.as_secs()))
        {
            let seconds = time.as_secs_f64();
            return Err(format!(
                "holdTime: {seconds} is neither 0 nor at least 3 whole seconds (RFC 4271 §4.2)"
            ));
        }
        within("holdTime", self.hold_time, 0, u16::MAX.into())?;
        within("connectRetry", self.connect_retry, 1, u16::MAX.into())?;
        within("delayOpen", self.delay_open, 0, u16::MAX.into())?;
        within("idleHoldMax", self.idle_hold_max, 1, DAY_SECONDS)?;
        within(
            "gracefulRestart",
            self.graceful_restart,
            0,
            RESTART_SECONDS_MAX,
        )?;
        within("longLived", self.long_lived, 0, LONG_LIVED_SECONDS_MAX)?;
        within("stalePathTime", self.stale_path_time, 1, DAY_SECONDS)?;
        if let Some(add_path) = &self.add_path {
            if add_path.send == PathsSent::BestOf(0) {
                return Err("addPath.send.bestOf: 0, so that nothing could be sent".to_owned());
            }
            if add_path.receive_max == 0 {
                return Err("addPath.receiveMax: 0, so that nothing could be taken".to_owned());
            }
        }
        if let Some(words) = &self.shutdown
            && words.len() > WORDS_OCTETS_MAX
        {
            let octets = words.len();
            return Err(format!(
                "shutdown: {words:?} has {octets} octets, and a peer can be told {WORDS_OCTETS_MAX} (RFC 9003 §2)"
            ));
        }
        if let Some(families) = &self.families {
            if families.is_empty() {
                return Err("families: empty, so that nothing could be exchanged".to_owned());
            }
            let twice = |&(index, family): &(usize, &Family)| families[..index].contains(family);
            if let Some((_, family)) = families.iter().enumerate().find(twice) {
                return Err(format!("families: {family} is there twice"));
            }
        }
        for (family, limit) in self.prefix_limits.iter().flatten() {
            if let Some(percent) = limit
                .warn_percent
                .filter(|percent| !(1..=100).contains(percent))
            {
                return Err(format!(
                    "prefixLimits.{family}.warnPercent: {percent} is not between 1 and 100"
                ));
            }
        }
        if let Some(interface) = &self.interface
            && (interface.is_empty() || interface.len() > DEVICE_OCTETS_MAX)
        {
            return Err(format!("interface: {interface:?} is no name of a device"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PeerOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PeerOptions, D::Error> {
        let said = Value::deserialize(deserializer)?;
        PeerOptions::of(said).map_err(D::Error::custom)
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Seconds, String> {
        let time = Duration::try_from_secs_f64(seconds);
        time.map(Seconds)
            .map_err(|_| format!("{seconds} is no number of seconds"))
    }
}

/// A text whose fault has it: the library's own does not.
///
/// # Errors
/// It is no text, or not of such a thing.
pub fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    let parsed = text.parse();
    parsed.map_err(|why| D::Error::custom(format!("{text:?}: {why}")))
}

fn said_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    parsed(from).map(Some)
}

fn said_bfd<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<BfdConfig>>, D::Error> {
    bfd::switch(from).map(Some)
}

/// A fault with its place, once: what is inside may have said the end of it.
fn at(path: &str, fault: &str) -> String {
    match fault.split_once(": ") {
        _ if path == "." => fault.to_owned(),
        Some((inside, why)) if path.ends_with(inside) => format!("{path}: {why}"),
        _ => format!("{path}: {fault}"),
    }
}

/// Read with keys that are texts, so that a fault has its whole path.
fn by_family<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<Family, V>>, D::Error> {
    let said = BTreeMap::<String, V>::deserialize(from)?;
    let family = |text: String| Family::deserialize(Value::String(text)).map_err(D::Error::custom);
    let read = said
        .into_iter()
        .map(|(text, value)| Ok((family(text)?, value)));
    read.collect::<Result<_, _>>().map(Some)
}

fn set<T: Clone>(field: &mut T, said: &Option<T>) {
    if let Some(said) = said {
        field.clone_from(said);
    }
}

const DAY_SECONDS: u64 = 86_400;
/// Twelve bits (RFC 4724 §3).
const RESTART_SECONDS_MAX: u64 = 4095;
/// 24 bits (RFC 9494 §4.1).
const LONG_LIVED_SECONDS_MAX: u64 = 16_777_215;
const WORDS_OCTETS_MAX: usize = 255;
/// IFNAMSIZ less the end.
const DEVICE_OCTETS_MAX: usize = 15;

#[cfg(test)]
mod tests;
