//! Who has a session with whom, and in which AS everybody is.

/// The shape of a world. Speakers are indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Everybody with everybody (iBGP).
    Mesh {
        /// How many.
        speakers: usize,
    },
    /// Clients with each reflector, and the reflectors with one another (RFC 4456).
    Reflectors {
        /// The first so many speakers.
        reflectors: usize,
        /// All others.
        clients: usize,
    },
    /// Reflectors over reflectors (RFC 4456 §5): the top ones are joined with one another; each cluster has two reflectors, which are
    /// clients of every top one and joined with each other, and clients of its own, which have a session with both.
    Hierarchy {
        /// How many top reflectors.
        tops: usize,
        /// How many clusters below them.
        clusters: usize,
        /// How many clients each cluster has.
        clients: usize,
    },
    /// Two spines of one AS, and clusters, each an AS of its own with a mesh inside. The first two speakers of a
    /// cluster are its borders: they have an eBGP session with one of the spines each.
    Clusters {
        /// How many.
        clusters: usize,
        /// How many speakers each cluster has; two at least.
        nodes: usize,
    },
}

impl Topology {
    /// How many speakers.
    pub fn speakers(self) -> usize {
        match self {
            Topology::Mesh { speakers } => speakers,
            Topology::Reflectors {
                reflectors,
                clients,
            } => reflectors + clients,
            Topology::Hierarchy {
                tops,
                clusters,
                clients,
            } => tops + clusters * (MIDDLES + clients),
            Topology::Clusters { clusters, nodes } => SPINES + clusters * nodes,
        }
    }

    /// Whether the two have a session.
    pub fn are_peers(self, a: usize, b: usize) -> bool {
        match self {
            Topology::Mesh { .. } => a != b,
            Topology::Reflectors { reflectors, .. } => a != b && a.min(b) < reflectors,
            Topology::Hierarchy { tops, clients, .. } => {
                let tier = |speaker| Tier::of(speaker, tops, clients);
                match (tier(a), tier(b)) {
                    (Tier::Top, Tier::Top) => a != b,
                    (Tier::Top, Tier::Middle(_)) | (Tier::Middle(_), Tier::Top) => true,
                    (Tier::Middle(one), Tier::Middle(other)) => one == other && a != b,
                    (Tier::Middle(one), Tier::Client(other))
                    | (Tier::Client(one), Tier::Middle(other)) => one == other,
                    (Tier::Client(_), _) | (_, Tier::Client(_)) => false,
                }
            }
            Topology::Clusters { nodes, .. } => match (Place::of(a, nodes), Place::of(b, nodes)) {
                (Place::Spine(_), Place::Spine(_)) => false,
                (Place::Spine(spine), Place::Node(_, node))
                | (Place::Node(_, node), Place::Spine(spine)) => spine == node,
                (Place::Node(one, _), Place::Node(other, _)) => one == other && a != b,
            },
        }
    }

    /// Everybody that the speaker has a session with, in order.
    pub fn peers(self, speaker: usize) -> Vec<usize> {
        let others = 0..self.speakers();
        others
            .filter(|&other| self.are_peers(speaker, other))
            .collect()
    }

    /// Whether `of` is a client of `speaker`.
    pub fn is_client(self, speaker: usize, of: usize) -> bool {
        match self {
            Topology::Reflectors { reflectors, .. } => speaker < reflectors && of >= reflectors,
            Topology::Hierarchy { tops, clients, .. } => {
                let tier = |speaker| Tier::of(speaker, tops, clients);
                matches!(
                    (tier(speaker), tier(of)),
                    (Tier::Top, Tier::Middle(_)) | (Tier::Middle(_), Tier::Client(_))
                )
            }
            Topology::Mesh { .. } | Topology::Clusters { .. } => false,
        }
    }

    /// It joins its cluster to the others.
    pub fn is_border(self, speaker: usize) -> bool {
        match self {
            Topology::Clusters { nodes, .. } => {
                matches!(Place::of(speaker, nodes), Place::Node(_, node) if node < SPINES)
            }
            Topology::Mesh { .. } | Topology::Reflectors { .. } | Topology::Hierarchy { .. } => {
                false
            }
        }
    }

    /// Its AS number.
    pub fn asn(self, speaker: usize) -> u32 {
        match self {
            Topology::Clusters { nodes, .. } => match Place::of(speaker, nodes) {
                Place::Spine(_) => SPINE_ASN,
                Place::Node(cluster, _) => ASN + cluster as u32,
            },
            Topology::Mesh { .. } | Topology::Reflectors { .. } | Topology::Hierarchy { .. } => ASN,
        }
    }

    /// The two are in different ASs.
    pub fn is_external(self, a: usize, b: usize) -> bool {
        self.asn(a) != self.asn(b)
    }
}

/// Where a speaker is in a hierarchy, and in which cluster.
enum Tier {
    Top,
    Middle(usize),
    Client(usize),
}

impl Tier {
    fn of(speaker: usize, tops: usize, clients: usize) -> Tier {
        let Some(index) = speaker.checked_sub(tops) else {
            return Tier::Top;
        };
        let (cluster, place) = (index / (MIDDLES + clients), index % (MIDDLES + clients));
        match place < MIDDLES {
            true => Tier::Middle(cluster),
            false => Tier::Client(cluster),
        }
    }
}

/// Where a speaker is among clusters.
enum Place {
    Spine(usize),
    /// Cluster, and number in it.
    Node(usize, usize),
}

impl Place {
    fn of(speaker: usize, nodes: usize) -> Place {
        match speaker.checked_sub(SPINES) {
            None => Place::Spine(speaker),
            Some(index) => Place::Node(index / nodes, index % nodes),
        }
    }
}

const ASN: u32 = 64512;
const SPINE_ASN: u32 = 65000;
const SPINES: usize = 2;
/// Reflectors of a cluster of a hierarchy.
const MIDDLES: usize = 2;
