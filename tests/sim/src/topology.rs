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
            Topology::Clusters { clusters, nodes } => SPINES + clusters * nodes,
        }
    }

    /// Whether the two have a session.
    pub fn are_peers(self, a: usize, b: usize) -> bool {
        match self {
            Topology::Mesh { .. } => a != b,
            Topology::Reflectors { reflectors, .. } => a != b && a.min(b) < reflectors,
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
            Topology::Mesh { .. } | Topology::Clusters { .. } => false,
        }
    }

    /// It joins its cluster to the others.
    pub fn is_border(self, speaker: usize) -> bool {
        match self {
            Topology::Clusters { nodes, .. } => {
                matches!(Place::of(speaker, nodes), Place::Node(_, node) if node < SPINES)
            }
            Topology::Mesh { .. } | Topology::Reflectors { .. } => false,
        }
    }

    /// Its AS number.
    pub fn asn(self, speaker: usize) -> u32 {
        match self {
            Topology::Clusters { nodes, .. } => match Place::of(speaker, nodes) {
                Place::Spine(_) => SPINE_ASN,
                Place::Node(cluster, _) => ASN + cluster as u32,
            },
            Topology::Mesh { .. } | Topology::Reflectors { .. } => ASN,
        }
    }

    /// The two are in different ASs.
    pub fn is_external(self, a: usize, b: usize) -> bool {
        self.asn(a) != self.asn(b)
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
