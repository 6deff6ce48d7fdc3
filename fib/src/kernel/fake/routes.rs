//! Routes of the kernel in memory: what others write, what it refuses, and how it looks up an address.

use std::net::IpAddr;

use super::{FOREIGN_PORT, FakeKernel, RTN_LOCAL, RTPROT_KERNEL, State, refusal};
use crate::kernel::{Event, Hop, Key, Kind, Refusal, Resolution, Spec, Write};

impl FakeKernel {
    /// Someone else writes a route, replacing what has its key. The kernel does not look at it.
    pub(crate) fn foreign_set(&self, key: Key, spec: Spec) {
        self.with(|state| state.set(key, spec, FOREIGN_PORT));
    }

    /// Someone else writes a route, and is refused as we would be.
    pub(crate) fn foreign_write(&self, write: &Write) -> Result<(), Refusal> {
        self.with(|state| {
            state.check(write)?;
            match write {
                Write::Set { key, spec, .. } => state.set(*key, spec.clone(), FOREIGN_PORT),
                Write::Delete { key, .. } => state.delete(key, FOREIGN_PORT),
                Write::SetObject { id, object, .. } => {
                    state.set_object(*id, object, true)?;
                    state.events.push(Event::Object {
                        id: *id,
                        object: object.clone(),
                        by: FOREIGN_PORT,
                    });
                }
                Write::DeleteObject { id } => state.foreign_delete_object(*id),
            }
            Ok(())
        })
    }

    /// Someone else deletes a route.
    pub(crate) fn foreign_delete(&self, key: Key) {
        self.with(|state| state.delete(&key, FOREIGN_PORT));
    }
}

impl State {
    pub(super) fn set(&mut self, key: Key, spec: Spec, by: u32) {
        let replaced = self.insert(key, spec.clone());
        self.events.push(Event::Route {
            key,
            spec,
            replaced,
            by,
        });
    }

    /// Returns whether there was one.
    pub(super) fn insert(&mut self, key: Key, spec: Spec) -> bool {
        self.dead.retain(|(route, _)| *route != key);
        self.routes.insert(key, spec).is_some()
    }

    pub(super) fn delete(&mut self, key: &Key, by: u32) {
        if let Some(spec) = self.routes.remove(key) {
            let key = *key;
            self.events.push(Event::RouteGone { key, spec, by });
        }
    }

    /// Says no where the kernel does.
    pub(super) fn check(&self, write: &Write) -> Result<(), Refusal> {
        match write {
            Write::Set { key, spec, replace } => {
                for hop in spec.hops() {
                    self.check_way(key, hop)?;
                }
                if let Some(id) = spec.object() {
                    self.check_object(key, id)?;
                }
                if !replace && self.routes.contains_key(key) {
                    return Err(refusal(libc::EEXIST, "File exists"));
                }
            }
            Write::Delete { key, spec } => {
                if self.routes.get(key) != Some(spec) {
                    return Err(refusal(libc::ESRCH, "No such process"));
                }
            }
            // They are looked at when they are carried out.
            Write::SetObject { .. } | Write::DeleteObject { .. } => {}
        }
        Ok(())
    }

    pub(super) fn check_way(&self, key: &Key, hop: &Hop) -> Result<(), Refusal> {
        let up = self.links.get(&hop.device).is_some_and(|link| link.up);
        if !up {
            return Err(refusal(libc::ENETDOWN, "Nexthop device is not up"));
        }
        let Some(via) = hop.via else {
            return Ok(());
        };
        if key.prefix.addr().is_ipv6() && via.is_ipv4() {
            return Err(refusal(
                libc::EINVAL,
                "IPv6 does not support RTA_VIA attribute",
            ));
        }
        if hop.onlink && self.leads_elsewhere(via, hop.device) {
            return Err(refusal(
                libc::EINVAL,
                "Nexthop has invalid gateway or device mismatch",
            ));
        }
        let mut subnets = self.addresses.iter();
        let near = subnets.any(|(device, subnet)| *device == hop.device && subnet.contains(&via));
        let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if near || link_local || hop.onlink {
            return Ok(());
        }
        Err(refusal(libc::ENETUNREACH, "Nexthop has invalid gateway"))
    }

    /// IPv6 looks where the route to an onlink gateway leads.
    pub(super) fn leads_elsewhere(&self, via: IpAddr, device: u32) -> bool {
        let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if via.is_ipv4() || link_local {
            return false;
        }
        let found = self.lookup(via);
        found.is_some_and(|way| way.hops.iter().any(|hop| hop.device != device))
    }

    pub(super) fn carry_out(&mut self, write: &Write) -> Result<(), Refusal> {
        if let Some(refuse) = &mut self.refuse
            && let Some(refusal) = refuse(write)
        {
            return Err(refusal);
        }
        self.check(write)?;
        match write {
            Write::Set { key, spec, .. } => {
                self.insert(*key, spec.clone());
            }
            Write::Delete { key, .. } => {
                self.routes.remove(key);
            }
            Write::SetObject {
                id,
                object,
                replace,
            } => self.set_object(*id, object, *replace)?,
            Write::DeleteObject { id } => self.delete_object(*id)?,
        }
        Ok(())
    }

    /// The route to an address: that of the longest prefix, of these the one with the least metric.
    pub(super) fn lookup(&self, to: IpAddr) -> Option<Resolution> {
        if self.addresses.iter().any(|(_, own)| own.addr() == to) {
            return Some(Resolution {
                protocol: RTPROT_KERNEL,
                kind: Kind::Other(RTN_LOCAL),
                hops: Default::default(),
            });
        }
        let up = |device: &u32| self.links.get(device).is_some_and(|link| link.up);
        let connected = self
            .addresses
            .iter()
            .filter(|(device, subnet)| up(device) && subnet.contains(&to))
            .map(|(device, subnet)| {
                let hop = Hop {
                    via: None,
                    device: *device,
                    onlink: false,
                    weight: 0,
                };
                let way = Resolution {
                    protocol: RTPROT_KERNEL,
                    kind: Kind::Unicast,
                    hops: [hop].into_iter().collect(),
                };
                ((subnet.prefix_len(), std::cmp::Reverse(0)), way)
            });
        let routes = self.routes.iter();
        let written = routes
            .filter(|(key, _)| key.prefix.contains(&to))
            .map(|(key, spec)| {
                let way = Resolution {
                    protocol: spec.protocol,
                    kind: spec.kind,
                    hops: self.hops_of(spec).into(),
                };
                let metric = std::cmp::Reverse(key.metric);
                ((key.prefix.prefix_len(), metric), way)
            });
        let best = connected.chain(written).max_by_key(|(rank, _)| *rank);
        best.map(|(_, way)| way)
            .filter(|way| way.kind != Kind::Blackhole)
    }
}
