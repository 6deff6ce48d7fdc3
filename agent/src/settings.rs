//! Which FelixConfiguration holds for this node: the environment over `node.<node>` over `default`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use caracal_datastore::resources::{FelixConfiguration, Resource, Toggle};
use caracal_datastore::{Metadata, Stored, TypedStore};
use caracal_fib::{DevicePrefixes, MtuDevices, Settings};
use serde_json::{Map, Value};
use tracing::warn;

/// What the variables `FELIX_*` say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Environment {
    said: FelixConfiguration,
    /// Fields that are as if nobody had said anything, whatever the objects say: their variable is `none`.
    unset: BTreeSet<&'static str>,
}

/// Field by field, the environment wins over the node's object, and that over the cluster's. What nobody says has the
/// default that the field's documentation names.
pub(crate) fn effective(
    stored: &BTreeMap<String, Stored<FelixConfiguration>>,
    node: &str,
    environment: &Environment,
) -> FelixConfiguration {
    let named = |name: &str| {
        stored
            .get(name)
            .map(|stored| stored.spec.clone())
            .unwrap_or_default()
    };
    let objects = named(&format!("node.{node}")).over(named("default"));
    let said = environment.said.clone();
    said.over(without(objects, &environment.unset))
}

fn without(objects: FelixConfiguration, unset: &BTreeSet<&'static str>) -> FelixConfiguration {
    if unset.is_empty() {
        return objects;
    }
    // What was read is written and read again: neither can fail.
    let Ok(Value::Object(mut fields)) = serde_json::to_value(&objects) else {
        return objects;
    };
    fields.retain(|field, _| !unset.contains(field.as_str()));
    serde_json::from_value(Value::Object(fields)).unwrap_or(objects)
}

/// The same at the start, before anything is watched, so that the first write has the right metric. What cannot be read
/// is named again, as a condition, when the watch tells of it.
pub(crate) async fn at_start(
    store: &TypedStore,
    node: &str,
    environment: &Environment,
) -> FelixConfiguration {
    let mut stored = BTreeMap::new();
    for name in ["default".to_owned(), format!("node.{node}")] {
        match store.get::<FelixConfiguration>(&name).await {
            Ok(found) => stored.extend(found.map(|found| (name, found))),
            Err(fault) => warn!("{fault}"),
        }
    }
    effective(&stored, node, environment)
}

/// How the FIB works by it.
pub(crate) fn of_fib(felix: &FelixConfiguration) -> Settings {
    let pattern = felix.mtu_iface_pattern.as_deref();
    // Validation let in no pattern that cannot be read; the default one can.
    let mtu_devices = MtuDevices::matching(pattern.unwrap_or(MTU_DEVICES)).unwrap_or_default();
    let metric_v4 = felix.ipv4_normal_route_priority.unwrap_or(NORMAL);
    let metric_v6 = felix.ipv6_normal_route_priority.unwrap_or(NORMAL);
    Settings {
        metric_v4,
        metric_v6,
        elevated_metric_v4: elevated(felix.ipv4_elevated_route_priority, metric_v4),
        elevated_metric_v6: elevated(felix.ipv6_elevated_route_priority, metric_v6),
        source_v4: felix.device_route_source_address,
        source_v6: felix.device_route_source_address_ipv6,
        verify_interval: felix.route_refresh_interval.unwrap_or(VERIFY_INTERVAL),
        device_prefixes: device_prefixes(felix),
        mtu_devices,
        remove_external_routes: felix.remove_external_routes.unwrap_or(true),
        forwarding: felix.ip_forwarding != Some(Toggle::Disabled),
    }
}

/// Felix's prefixes, which may be a list with commas, and that of our own plugin.
fn device_prefixes(felix: &FelixConfiguration) -> DevicePrefixes {
    let configured = felix.interface_prefix.as_deref().unwrap_or_default();
    let listed = configured.split(',').map(str::trim);
    DevicePrefixes::new(listed.chain([DEVICE_PREFIX]))
}

/// The metric of routes to workloads that have just come: better than that of ordinary routes, whatever is configured,
/// because a route that is not better does not win. A half of it, where what is configured is no better.
pub(crate) fn elevated(configured: Option<u32>, normal: u32) -> u32 {
    let elevated = configured.unwrap_or(ELEVATED);
    match elevated < normal {
        true => elevated,
        false => (normal / 2).max(1),
    }
}

/// What the objects and the environment together say that cannot be followed. `in_bgp`: what BGPConfiguration has in place
/// of the ordinary metrics, IPv4 and IPv6.
pub(crate) fn faults(felix: &FelixConfiguration, in_bgp: [Option<u32>; 2]) -> Vec<String> {
    let mut faults = Vec::new();
    for (family, in_bgp, normal, configured) in [
        (
            "ipv4",
            in_bgp[0],
            felix.ipv4_normal_route_priority,
            felix.ipv4_elevated_route_priority,
        ),
        (
            "ipv6",
            in_bgp[1],
            felix.ipv6_normal_route_priority,
            felix.ipv6_elevated_route_priority,
        ),
    ] {
        let of_kernel = ("FelixConfiguration", Some(normal.unwrap_or(NORMAL)));
        for (object, normal) in [of_kernel, ("BGPConfiguration", in_bgp)] {
            let asked = configured.unwrap_or(ELEVATED);
            if let Some(normal) = normal.filter(|normal| asked >= *normal) {
                let used = elevated(configured, normal);
                faults.push(format!(
                    "{family}ElevatedRoutePriority: {asked} is not less than {family}NormalRoutePriority of {object}, which \
                     is {normal}; {used} is used in its place"
                ));
            }
        }
    }
    faults
}

/// UDP port of VXLAN.
pub(crate) fn vxlan_port(felix: &FelixConfiguration) -> u16 {
    felix.vxlan_port.unwrap_or(VXLAN_PORT)
}

/// What the variables `FELIX_*` say, by Felix's names for them. `none` is what Felix makes of it: the zero of the field's
/// kind, which mostly turns something off, whatever the objects say. The error names the variable and carries the value.
pub(crate) fn from_environment(
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Environment, String> {
    let mut said = FelixConfiguration::default();
    let mut unset = BTreeSet::new();
    for (name, field, form, none) in VARIABLES {
        let Some(text) = environment(name) else {
            continue;
        };
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let fault = |why: &str| format!("{name}: {text:?}: {why}");
        let text = match (text.eq_ignore_ascii_case("none"), none) {
            (false, _) => text,
            (true, Nothing::Is(zero)) => zero,
            (true, Nothing::Unsaid) => {
                unset.insert(field);
                continue;
            }
            (true, Nothing::Refused) => return Err(fault("this cannot be nothing")),
        };
        let value = form.value(text).ok_or_else(|| fault(form.expected()))?;
        let spec = Value::Object(Map::from_iter([(field.to_owned(), value)]));
        let one: FelixConfiguration =
            serde_json::from_value(spec).map_err(|why| fault(&why.to_string()))?;
        let metadata = Metadata {
            name: "default".to_owned(),
            ..Metadata::default()
        };
        if let Some(why) = one.validate(&metadata).first() {
            return Err(format!("{name}: {}", why.trim_start_matches("spec.")));
        }
        said = one.over(said);
    }
    Ok(Environment { said, unset })
}

/// The metric of ordinary routes.
pub(crate) const NORMAL: u32 = 1024;
/// That of routes to workloads that have just moved here.
pub(crate) const ELEVATED: u32 = 512;
const DEVICE_PREFIX: &str = "cali";
const VXLAN_PORT: u16 = 4789;
/// Felix reads every 90 s because it hears of nothing; we hear of everything, and read to be sure.
const VERIFY_INTERVAL: Duration = Duration::from_secs(300);
/// Felix's: names of cards, by whatever rule they were given.
const MTU_DEVICES: &str = "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)";

/// How a variable is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Number,
    Bool,
    /// A duration as a number of seconds.
    Seconds,
    /// Texts with commas between them.
    List,
}

/// What `none` stands for.
#[derive(Debug, Clone, Copy)]
enum Nothing {
    /// This value.
    Is(&'static str),
    /// That nobody says anything.
    Unsaid,
    /// An error.
    Refused,
}

impl Form {
    fn value(self, text: &str) -> Option<Value> {
        match self {
            Form::Text => Some(Value::from(text)),
            Form::Number => text.parse::<u32>().ok().map(Value::from),
            Form::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "y" | "t" => Some(Value::from(true)),
                "false" | "0" | "no" | "n" | "f" => Some(Value::from(false)),
                _ => None,
            },
            Form::Seconds => {
                let seconds: f64 = text.parse().ok()?;
                (seconds.is_finite() && seconds >= 0.0).then(|| Value::from(format!("{text}s")))
            }
            Form::List => {
                let parts = text.split(',').map(str::trim);
                let parts = parts.filter(|part| !part.is_empty());
                Some(parts.map(Value::from).collect())
            }
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Form::Text => "a text is expected",
            Form::Number => "a number is expected",
            Form::Bool => "true or false is expected",
            Form::Seconds => "a number of seconds is expected",
            Form::List => "a list is expected",
        }
    }
}

/// Felix's variables, the fields that they stand for, how they are written, and what `none` is there.
const VARIABLES: [(&str, &str, Form, Nothing); 29] = [
    (
        "FELIX_INTERFACEPREFIX",
        "interfacePrefix",
        Form::Text,
        Nothing::Refused,
    ),
    (
        "FELIX_MTUIFACEPATTERN",
        "mtuIfacePattern",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_REQUIREMTUFILE",
        "requireMTUFile",
        Form::Bool,
        Nothing::Is(FALSE),
    ),
    (
        "FELIX_IPINIPMTU",
        "ipipMTU",
        Form::Number,
        Nothing::Is(ZERO),
    ),
    (
        "FELIX_VXLANMTU",
        "vxlanMTU",
        Form::Number,
        Nothing::Is(ZERO),
    ),
    (
        "FELIX_VXLANMTUV6",
        "vxlanMTUV6",
        Form::Number,
        Nothing::Is(ZERO),
    ),
    (
        "FELIX_VXLANPORT",
        "vxlanPort",
        Form::Number,
        Nothing::Refused,
    ),
    ("FELIX_VXLANVNI", "vxlanVNI", Form::Number, Nothing::Refused),
    (
        "FELIX_NATPORTRANGE",
        "natPortRange",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_NATOUTGOINGADDRESS",
        "natOutgoingAddress",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_NATOUTGOINGEXCLUSIONS",
        "natOutgoingExclusions",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_IPTABLESNATOUTGOINGINTERFACEFILTER",
        "iptablesNATOutgoingInterfaceFilter",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_SERVICELOOPPREVENTION",
        "serviceLoopPrevention",
        Form::Text,
        Nothing::Is(DISABLED),
    ),
    (
        "FELIX_WORKLOADSOURCESPOOFING",
        "workloadSourceSpoofing",
        Form::Text,
        Nothing::Is(DISABLED),
    ),
    (
        "FELIX_IPFORWARDING",
        "ipForwarding",
        Form::Text,
        Nothing::Is(DISABLED),
    ),
    (
        "FELIX_ALLOWIPIPPACKETSFROMWORKLOADS",
        "allowIPIPPacketsFromWorkloads",
        Form::Bool,
        Nothing::Is(FALSE),
    ),
    (
        "FELIX_ALLOWVXLANPACKETSFROMWORKLOADS",
        "allowVXLANPacketsFromWorkloads",
        Form::Bool,
        Nothing::Is(FALSE),
    ),
    (
        "FELIX_EXTERNALNODESCIDRLIST",
        "externalNodesList",
        Form::List,
        Nothing::Unsaid,
    ),
    (
        "FELIX_DEVICEROUTESOURCEADDRESS",
        "deviceRouteSourceAddress",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_DEVICEROUTESOURCEADDRESSIPV6",
        "deviceRouteSourceAddressIPv6",
        Form::Text,
        Nothing::Unsaid,
    ),
    (
        "FELIX_REMOVEEXTERNALROUTES",
        "removeExternalRoutes",
        Form::Bool,
        Nothing::Is(FALSE),
    ),
    (
        "FELIX_ROUTEREFRESHINTERVAL",
        "routeRefreshInterval",
        Form::Seconds,
        Nothing::Is(ZERO),
    ),
    (
        "FELIX_IPV4NORMALROUTEPRIORITY",
        "ipv4NormalRoutePriority",
        Form::Number,
        Nothing::Refused,
    ),
    (
        "FELIX_IPV6NORMALROUTEPRIORITY",
        "ipv6NormalRoutePriority",
        Form::Number,
        Nothing::Refused,
    ),
    (
        "FELIX_IPV4ELEVATEDROUTEPRIORITY",
        "ipv4ElevatedRoutePriority",
        Form::Number,
        Nothing::Refused,
    ),
    (
        "FELIX_IPV6ELEVATEDROUTEPRIORITY",
        "ipv6ElevatedRoutePriority",
        Form::Number,
        Nothing::Refused,
    ),
    (
        "FELIX_LIVEMIGRATIONROUTECONVERGENCETIME",
        "liveMigrationRouteConvergenceTime",
        Form::Seconds,
        Nothing::Is(ZERO),
    ),
    (
        "FELIX_PROGRAMCLUSTERROUTES",
        "programClusterRoutes",
        Form::Text,
        Nothing::Is(DISABLED),
    ),
    (
        "FELIX_ROUTESYNCDISABLED",
        "routeSyncDisabled",
        Form::Bool,
        Nothing::Is(FALSE),
    ),
];
const FALSE: &str = "false";
const ZERO: &str = "0";
const DISABLED: &str = "Disabled";

#[cfg(test)]
mod tests;
