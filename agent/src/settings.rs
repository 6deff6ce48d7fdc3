//! Which FelixConfiguration holds for this node: the environment over `node.<node>` over `default`. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_datastore::resources::{FelixConfiguration, Resource, Toggle};
use caracal_datastore::{Metadata, Stored, TypedStore};
use caracal_fib::{DevicePrefixes, MtuDevices, Settings};
use serde_json::{Map, Value};
use tracing::warn;

/// Field by field, the environment wins over the node's object, and that over the cluster's. What nobody says has the
/// default that the field's documentation names.
pub(crate) fn effective(
    stored: &BTreeMap<String, Stored<FelixConfiguration>>,
    node: &str,
    environment: &FelixConfiguration,
) -> FelixConfiguration {
    let named = |name: &str| {
        stored
            .get(name)
            .map(|stored| stored.spec.clone())
            .unwrap_or_default()
    };
    environment
        .clone()
        .over(named(&format!("node.{node}")).over(named("default")))
}

/// The same at the start, before anything is watched, so that the first write has the right metric. What cannot be read
/// is named again, as a condition, when the watch tells of it.
pub(crate) async fn at_start(
    store: &TypedStore,
    node: &str,
    environment: &FelixConfiguration,
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
    Settings {
        metric_v4: felix.ipv4_normal_route_priority.unwrap_or(NORMAL),
        metric_v6: felix.ipv6_normal_route_priority.unwrap_or(NORMAL),
        elevated_metric_v4: felix.ipv4_elevated_route_priority.unwrap_or(ELEVATED),
        elevated_metric_v6: felix.ipv6_elevated_route_priority.unwrap_or(ELEVATED),
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

/// What the variables `FELIX_*` say, by Felix's names for them. `none` is as if the variable were not there. The error
/// names the variable and carries the value.
pub(crate) fn from_environment(
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<FelixConfiguration, String> {
    let mut said = FelixConfiguration::default();
    for (name, field, form) in VARIABLES {
        let Some(text) = environment(name) else {
            continue;
        };
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("none") {
            continue;
        }
        let fault = |why: &str| format!("{name}: {text:?}: {why}");
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
    Ok(said)
}

/// The metric of ordinary routes.
pub(crate) const NORMAL: u32 = 1024;
/// That of routes to workloads that have just moved here.
pub(crate) const ELEVATED: u32 = 512;
const DEVICE_PREFIX: &str = "cali";
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
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Form::Text => "a text is expected",
            Form::Number => "a number is expected",
            Form::Bool => "true or false is expected",
            Form::Seconds => "a number of seconds is expected",
        }
    }
}

/// Felix's variables and the fields that they stand for.
const VARIABLES: [(&str, &str, Form); 26] = [
    ("FELIX_INTERFACEPREFIX", "interfacePrefix", Form::Text),
    ("FELIX_MTUIFACEPATTERN", "mtuIfacePattern", Form::Text),
    ("FELIX_REQUIREMTUFILE", "requireMTUFile", Form::Bool),
    ("FELIX_IPINIPMTU", "ipipMTU", Form::Number),
    ("FELIX_VXLANMTU", "vxlanMTU", Form::Number),
    ("FELIX_VXLANMTUV6", "vxlanMTUV6", Form::Number),
    ("FELIX_VXLANPORT", "vxlanPort", Form::Number),
    ("FELIX_VXLANVNI", "vxlanVNI", Form::Number),
    ("FELIX_NATPORTRANGE", "natPortRange", Form::Text),
    ("FELIX_NATOUTGOINGADDRESS", "natOutgoingAddress", Form::Text),
    (
        "FELIX_NATOUTGOINGEXCLUSIONS",
        "natOutgoingExclusions",
        Form::Text,
    ),
    (
        "FELIX_IPTABLESNATOUTGOINGINTERFACEFILTER",
        "iptablesNATOutgoingInterfaceFilter",
        Form::Text,
    ),
    (
        "FELIX_SERVICELOOPPREVENTION",
        "serviceLoopPrevention",
        Form::Text,
    ),
    (
        "FELIX_WORKLOADSOURCESPOOFING",
        "workloadSourceSpoofing",
        Form::Text,
    ),
    ("FELIX_IPFORWARDING", "ipForwarding", Form::Text),
    (
        "FELIX_DEVICEROUTESOURCEADDRESS",
        "deviceRouteSourceAddress",
        Form::Text,
    ),
    (
        "FELIX_DEVICEROUTESOURCEADDRESSIPV6",
        "deviceRouteSourceAddressIPv6",
        Form::Text,
    ),
    (
        "FELIX_REMOVEEXTERNALROUTES",
        "removeExternalRoutes",
        Form::Bool,
    ),
    (
        "FELIX_ROUTEREFRESHINTERVAL",
        "routeRefreshInterval",
        Form::Seconds,
    ),
    (
        "FELIX_IPV4NORMALROUTEPRIORITY",
        "ipv4NormalRoutePriority",
        Form::Number,
    ),
    (
        "FELIX_IPV6NORMALROUTEPRIORITY",
        "ipv6NormalRoutePriority",
        Form::Number,
    ),
    (
        "FELIX_IPV4ELEVATEDROUTEPRIORITY",
        "ipv4ElevatedRoutePriority",
        Form::Number,
    ),
    (
        "FELIX_IPV6ELEVATEDROUTEPRIORITY",
        "ipv6ElevatedRoutePriority",
        Form::Number,
    ),
    (
        "FELIX_LIVEMIGRATIONROUTECONVERGENCETIME",
        "liveMigrationRouteConvergenceTime",
        Form::Seconds,
    ),
    (
        "FELIX_PROGRAMCLUSTERROUTES",
        "programClusterRoutes",
        Form::Text,
    ),
    ("FELIX_ROUTESYNCDISABLED", "routeSyncDisabled", Form::Bool),
];

#[cfg(test)]
mod tests;
