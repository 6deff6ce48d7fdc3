//! A lab with one other router, and what is expected of whichever router it is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use caracal_agent_api::Path;
use caracal_lab::topology::{self, ASN, Site};
use caracal_lab::{Binaries, Lab, Node, Options, manifests, wait};

use crate::router::{Announced, Learned, Place, Router};

/// What the routers announce.
const ANNOUNCED: [Announced; 2] = [announced("198.51.100.0/24"), announced("2001:db8:1::/48")];

const fn announced(prefix: &'static str) -> Announced {
    Announced {
        prefix,
        local_pref: 220,
        med: 50,
        community: "64999:7",
        large_community: "64999:1:2",
        route_target: "64999:9",
        prepend: 64998,
    }
}

/// Three nodes in two racks, and a router in the first rack, a global BGPPeer of all nodes.
#[derive(Debug)]
pub struct Scene<R> {
    /// The nodes.
    pub lab: Lab,
    /// The router.
    pub router: R,
    /// The router's addresses.
    pub site: Site,
    asn: u32,
}

impl<R: Router> Scene<R> {
    /// Everyone is started, and all sessions are Established on both sides.
    pub fn inside_the_as(ipv6: bool) -> Result<Scene<R>> {
        Scene::start(ipv6, ASN)
    }

    /// The same, with the router in another AS.
    pub fn in_another_as(ipv6: bool) -> Result<Scene<R>> {
        Scene::start(ipv6, 64999)
    }

    fn start(ipv6: bool, asn: u32) -> Result<Scene<R>> {
        let options = Options {
            ipv6,
            ..Options::default()
        };
        let mut lab = Lab::build(options, Binaries::find()?)?;
        lab.start()?;
        let site = topology::site("other", 1, 100);
        let place = Place::new(&lab, site.clone(), asn)?;
        let router = R::start(place)?;
        for (name, address) in [("other", &site.ipv4), ("other-ipv6", &site.ipv6)] {
            if address.addr().is_ipv4() || ipv6 {
                let peer = manifests::global_peer(name, address.addr(), asn);
                manifests::write(&lab.store, &format!("{name}.yaml"), &peer)?;
            }
        }
        let mut scene = Scene {
            lab,
            router,
            site,
            asn,
        };
        scene.established()?;
        Ok(scene)
    }

    /// All sessions are Established, as nodes and router see it.
    pub fn established(&mut self) -> Result<()> {
        let families = if self.lab.options.ipv6 { 2 } else { 1 };
        let wanted = self.lab.nodes.len() * families;
        wait::until_or("the router's sessions", || {
            let up = self.router.established()?;
            Ok(if up.len() == wanted {
                Ok(())
            } else {
                Err(format!("Established: {up:?}"))
            })
        })?;
        let sessions = self.lab.sessions_of_a_node() + families;
        let mut nodes = self.lab.nodes.iter_mut();
        nodes.try_for_each(|node| node.wait_established(sessions))
    }

    /// The router has each node's blocks: inside the AS from the owner alone, with the attributes that the owner itself
    /// shows; in another AS from every node, with that node as next hop, its AS as the path, and no LOCAL_PREF on the wire.
    pub fn router_has_all_blocks(&mut self) -> Result<()> {
        for owner in 0..self.lab.nodes.len() {
            for block in self.lab.nodes[owner].status()?.blocks {
                let (prefix, ipv6) = (block.to_string(), block.addr().is_ipv6());
                let local = local_path(&self.lab.nodes[owner], &prefix)?;
                let internal = self.asn == ASN;
                let announcers = self.lab.nodes.iter().enumerate();
                let announcers = announcers.filter(|(index, _)| !internal || *index == owner);
                let wanted: BTreeSet<_> = announcers
                    .map(|(_, node)| {
                        (
                            address(&node.site, ipv6).to_string(),
                            if internal { "" } else { OUR_AS }.to_owned(),
                            local.origin.clone(),
                            internal.then_some(local.local_pref),
                            local.med,
                            local.communities.clone(),
                        )
                    })
                    .collect();
                let router = &mut self.router;
                wait::until_or(
                    &format!("the router to have {prefix} as {wanted:?}"),
                    || {
                        let paths = router.learned()?;
                        let have = paths.iter().filter(|path| path.prefix == prefix);
                        let have: BTreeSet<_> = have
                            .map(|path| {
                                (
                                    path.next_hop.clone(),
                                    path.as_path.clone(),
                                    path.origin.clone(),
                                    path.local_pref.filter(|_| internal),
                                    path.med,
                                    path.communities.clone(),
                                )
                            })
                            .collect();
                        Ok(if have == wanted {
                            Ok(())
                        } else {
                            Err(format!("{have:?}"))
                        })
                    },
                )?;
            }
        }
        Ok(())
    }

    /// What the router announces arrives everywhere with its attributes and leads to the router in all kernels; when it is
    /// withdrawn, no kernel has it; when it is announced again, all have it again.
    pub fn prefixes_of_the_router_come_and_go(&mut self) -> Result<()> {
        let families = if self.lab.options.ipv6 { 2 } else { 1 };
        for announced in &ANNOUNCED[..families] {
            self.router.announce(announced)?;
            self.all_nodes_have(announced)?;
            self.router.withdraw(announced)?;
            wait::until(&format!("all nodes to lose {}", announced.prefix), || {
                self.lab.nodes.iter().try_for_each(|node| {
                    let have = node.kernel_prefixes().map_err(|error| error.to_string())?;
                    let routes = node.routes().map_err(|error| error.to_string())?;
                    let known = routes
                        .iter()
                        .any(|route| route.prefix.to_string() == announced.prefix);
                    match have.contains(announced.prefix) || known {
                        false => Ok(()),
                        true => Err(format!("{} still has it", node.name())),
                    }
                })
            })?;
            self.router.announce(announced)?;
            self.all_nodes_have(announced)?;
        }
        Ok(())
    }

    /// A node's agent is killed and started again. From before to after, the router has the node's blocks; while the agent
    /// is away they are stale; in the end they are not.
    pub fn router_helps_a_restart(&mut self) -> Result<()> {
        self.router_has_all_blocks()?;
        let owner = self.lab.nodes[0].site.clone();
        let blocks = self.lab.nodes[0].status()?.blocks;
        let blocks: Vec<_> = blocks.iter().map(ToString::to_string).collect();
        let of_the_owner = |paths: &[Learned], ipv6| -> Result<Vec<Learned>> {
            let next_hop = address(&owner, ipv6).to_string();
            let mut found = Vec::new();
            for block in blocks.iter().filter(|block| block.contains(':') == ipv6) {
                let path = paths
                    .iter()
                    .find(|path| path.prefix == *block && path.next_hop == next_hop);
                ensure!(path.is_some(), "the router lost {block}: {paths:?}");
                found.extend(path.cloned());
            }
            Ok(found)
        };
        let families: &[bool] = if self.lab.options.ipv6 {
            &[false, true]
        } else {
            &[false]
        };
        self.lab.nodes[0].agent.kill()?;
        for &ipv6 in families {
            let router = &mut self.router;
            wait::until_or("the router to see that the agent has gone", || {
                let gone = !router.established()?.contains(&address(&owner, ipv6));
                let paths = of_the_owner(&router.learned()?, ipv6)?;
                Ok(match gone && paths.iter().all(|path| path.stale) {
                    true => Ok(()),
                    false => Err(format!("gone: {gone}; {paths:?}")),
                })
            })?;
        }
        self.lab.nodes[0].agent.start()?;
        for &ipv6 in families {
            let router = &mut self.router;
            wait::until_or("the router to have fresh paths of the agent", || {
                let back = router.established()?.contains(&address(&owner, ipv6));
                let paths = of_the_owner(&router.learned()?, ipv6)?;
                Ok(match back && paths.iter().all(|path| !path.stale) {
                    true => Ok(()),
                    false => Err(format!("back: {back}; {paths:?}")),
                })
            })?;
        }
        self.established()?;
        self.router_has_all_blocks()
    }

    fn all_nodes_have(&self, announced: &Announced) -> Result<()> {
        let ipv6 = announced.prefix.contains(':');
        let from = address(&self.site, ipv6);
        for node in &self.lab.nodes {
            wait::until(&format!("{} to have {announced:?}", node.name()), || {
                let path = path_from(node, announced.prefix, from)?;
                let internal = self.asn == ASN;
                let own = (!internal).then_some(self.asn);
                let behind = R::PREPENDS.then_some(announced.prepend);
                let as_path = own.into_iter().chain(behind).map(|asn| asn.to_string());
                let as_path = as_path.collect::<Vec<_>>().join(" ");
                let same = path.next_hop == Some(from)
                    && path.as_path == as_path
                    && path.med == Some(announced.med)
                    && (!internal || path.local_pref == announced.local_pref)
                    && path
                        .communities
                        .iter()
                        .any(|have| have == announced.community)
                    && path
                        .communities
                        .iter()
                        .any(|have| have == announced.large_community);
                if !same {
                    return Err(format!("{path:?}"));
                }
                let gateway = match node.site.rack == self.site.rack {
                    true => from,
                    false => address(&topology::router(node.site.rack), ipv6),
                };
                let wanted = format!("{} via {gateway} dev eth0", announced.prefix);
                let routes = node
                    .kernel_routes(ipv6)
                    .map_err(|error| error.to_string())?;
                match routes.iter().any(|route| route.starts_with(&wanted)) {
                    true => Ok(()),
                    false => Err(format!("no route \"{wanted}\" among {routes:?}")),
                }
            })?;
        }
        Ok(())
    }
}

const OUR_AS: &str = "64512";

fn address(site: &Site, ipv6: bool) -> IpAddr {
    if ipv6 {
        site.ipv6.addr()
    } else {
        site.ipv4.addr()
    }
}

/// The node's own path, as it shows it.
fn local_path(node: &Node, prefix: &str) -> Result<Path> {
    wait::until(&format!("{} to originate {prefix}", node.name()), || {
        find_path(node, prefix, None)
    })
}

fn path_from(node: &Node, prefix: &str, peer: IpAddr) -> Result<Path, String> {
    find_path(node, prefix, Some(peer))
}

fn find_path(node: &Node, prefix: &str, peer: Option<IpAddr>) -> Result<Path, String> {
    let routes = node.routes().map_err(|error| error.to_string())?;
    let route = routes
        .iter()
        .find(|route| route.prefix.to_string() == prefix);
    let route = route.ok_or_else(|| format!("{} has no {prefix}", node.name()))?;
    let path = route.paths.iter().find(|path| path.peer == peer);
    path.cloned().ok_or_else(|| format!("{route:?}"))
}
