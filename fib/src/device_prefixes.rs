//! By what the devices of workloads are known.

/// Their names begin with one of these. An empty one would take in every device, and so is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePrefixes(Vec<String>);

impl DevicePrefixes {
    /// In any order.
    pub fn new<S: Into<String>>(prefixes: impl IntoIterator<Item = S>) -> DevicePrefixes {
        let mut prefixes: Vec<String> = prefixes.into_iter().map(S::into).collect();
        prefixes.retain(|prefix| !prefix.is_empty());
        prefixes.sort();
        prefixes.dedup();
        DevicePrefixes(prefixes)
    }

    /// Is a device of this name a workload's?
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl Default for DevicePrefixes {
    /// `cali`, as Calico and our own plugin name them.
    fn default() -> DevicePrefixes {
        DevicePrefixes::new(["cali"])
    }
}

impl From<&str> for DevicePrefixes {
    fn from(prefix: &str) -> DevicePrefixes {
        DevicePrefixes::new([prefix])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_workloads_if_one_of_the_prefixes_fits() {
        let prefixes = DevicePrefixes::new(["tap", "cali", "", "cali"]);
        assert_eq!(prefixes, DevicePrefixes::new(["cali", "tap"]));
        for (name, fits) in [
            ("cali1", true),
            ("tap0", true),
            ("eth0", false),
            ("ta", false),
        ] {
            assert_eq!(prefixes.fit(name), fits, "{name}");
        }
        assert!(!DevicePrefixes::new([""]).fit("eth0"));
    }
}
