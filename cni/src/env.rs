//! The CNI environment: `CNI_COMMAND` and its parameters, checked once.

use std::net::IpAddr;

use crate::error::{CniError, Code};

/// What the runtime asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

/// A call by the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// `CNI_COMMAND`.
    pub(crate) command: Command,
    /// `CNI_CONTAINERID`; empty for commands that are not about a container.
    pub(crate) container_id: String,
    /// `CNI_IFNAME`; empty likewise.
    pub(crate) ifname: String,
    /// `CNI_NETNS`; empty on a DEL whose namespace is gone.
    pub(crate) netns: String,
    /// `CNI_ARGS`.
    pub(crate) args: Args,
}

/// `CNI_ARGS`, the part that we use. What else is there is ignored, with or without `IgnoreUnknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// `K8S_POD_NAMESPACE`.
    pub(crate) namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub(crate) pod: Option<String>,
    /// `IP`: addresses asked for.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Invocation {
    /// Reads the environment through `lookup`. Every variable that is wrong is named.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Invocation, CniError> {
        let value = |name: &str| lookup(name).unwrap_or_default();
        let command = match value("CNI_COMMAND").as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "STATUS" => Command::Status,
            "GC" => Command::Gc,
            "VERSION" => Command::Version,
            "" => return Err(invalid("CNI_COMMAND is missing")),
            other => {
                return Err(invalid(format!(
                    "CNI_COMMAND {other} is none of ADD, DEL, CHECK, STATUS, GC, VERSION"
                )));
            }
        };
        let mut call = Invocation {
            command,
            container_id: String::new(),
            ifname: String::new(),
            netns: String::new(),
            args: Args::default(),
        };
        let needed: &[&str] = match command {
            Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Command::Status | Command::Gc | Command::Version => return Ok(call),
        };
        call.container_id = value("CNI_CONTAINERID");
        call.ifname = value("CNI_IFNAME");
        call.netns = value("CNI_NETNS");
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|name| value(name).is_empty())
            .collect();
        if !missing.is_empty() {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            return Err(invalid(format!(
                "{} {verb} missing for {}",
                missing.join(", "),
                value("CNI_COMMAND")
            )));
        }
        check_container_id(&call.container_id)?;
        check_ifname(&call.ifname)?;
        call.args = Args::parse(&value("CNI_ARGS"))?;
        Ok(call)
    }
}

impl Args {
    fn parse(text: &str) -> Result<Args, CniError> {
        let mut args = Args::default();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| invalid(format!("CNI_ARGS: {pair} is not of the form KEY=VALUE")))?;
            let some = (!value.is_empty()).then(|| value.to_owned());
            match key {
                "K8S_POD_NAMESPACE" => args.namespace = some,
                "K8S_POD_NAME" => args.pod = some,
                "IP" if !value.is_empty() => {
                    args.addresses = value
                        .split(',')
                        .map(|address| {
                            parse_address(address).ok_or_else(|| {
                                invalid(format!("CNI_ARGS: IP={address} is not an address"))
                            })
                        })
                        .collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        Ok(args)
    }
}

/// An address, with or without the prefix length that the conventions also allow.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    match text.split_once('/') {
        Some((address, length)) => {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            (length.parse::<u8>().ok()? <= most).then_some(address)
        }
        None => text.parse().ok(),
    }
}

/// The specification's form. It also makes the ID harmless in the name of a file.
fn check_container_id(id: &str) -> Result<(), CniError> {
    let fine = id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'))
        && id.len() <= CONTAINER_ID_OCTETS_MAX;
    if fine {
        return Ok(());
    }
    Err(invalid(format!(
        "CNI_CONTAINERID {id:?} is not made of at most {CONTAINER_ID_OCTETS_MAX} letters, digits, '_', '.' and '-'"
    )))
}

/// The kernel's rules for a name of an interface.
fn check_ifname(name: &str) -> Result<(), CniError> {
    let fine = name.len() <= IFNAME_OCTETS_MAX
        && !matches!(name, "." | "..")
        && !name.contains(|letter: char| {
            matches!(letter, '/' | ':') || letter.is_whitespace() || letter.is_control()
        });
    if fine {
        return Ok(());
    }
    Err(invalid(format!(
        "CNI_IFNAME {name:?} is not the name of an interface: at most {IFNAME_OCTETS_MAX} octets, no '/', ':' or space"
    )))
}

fn invalid(msg: impl Into<String>) -> CniError {
    CniError::new(Code::InvalidEnvironment, msg)
}

/// `IFNAMSIZ` without the final zero.
const IFNAME_OCTETS_MAX: usize = 15;
/// Runtimes use 64. The ID is also a part of a file's name and of an alias, which hold 255.
const CONTAINER_ID_OCTETS_MAX: usize = 200;

#[cfg(test)]
mod tests;
