//! Numbers on the wire, each with its IANA registry, and their names in RFC words.

/// Registry "BGP Message Types".
pub mod message_type {
    /// RFC 4271 §4.2.
    pub const OPEN: u8 = 1;
    /// RFC 4271 §4.3.
    pub const UPDATE: u8 = 2;
    /// RFC 4271 §4.5.
    pub const NOTIFICATION: u8 = 3;
    /// RFC 4271 §4.4.
    pub const KEEPALIVE: u8 = 4;
    /// RFC 2918 §3.
    pub const ROUTE_REFRESH: u8 = 5;
}

/// Registry "BGP OPEN Optional Parameter Types".
pub mod open_parameter {
    /// RFC 5492 §4.
    pub const CAPABILITIES: u8 = 2;
    /// RFC 9072 §2: not a parameter, it says that lengths are two octets.
    pub const EXTENDED_LENGTH: u8 = 255;
}

/// Registry "Capability Codes".
pub mod capability_code {
    /// RFC 4760 §8.
    pub const MULTIPROTOCOL: u8 = 1;
    /// RFC 2918 §2.
    pub const ROUTE_REFRESH: u8 = 2;
    /// RFC 8950 §4.
    pub const EXTENDED_NEXT_HOP: u8 = 5;
    /// RFC 8654 §3.
    pub const EXTENDED_MESSAGE: u8 = 6;
    /// RFC 9234 §4.1.
    pub const ROLE: u8 = 9;
    /// RFC 4724 §3.
    pub const GRACEFUL_RESTART: u8 = 64;
    /// RFC 6793 §3.
    pub const FOUR_OCTET_AS: u8 = 65;
    /// RFC 7911 §4.
    pub const ADD_PATH: u8 = 69;
    /// RFC 7313 §3.1.
    pub const ENHANCED_ROUTE_REFRESH: u8 = 70;
    /// RFC 9494 §4.1.
    pub const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
    /// draft-walton-bgp-hostname-capability.
    pub const HOSTNAME: u8 = 73;
    /// draft-abraitis-bgp-version-capability.
    pub const SOFTWARE_VERSION: u8 = 75;
}

/// Registry "Address Family Numbers".
pub mod afi {
    /// IPv4.
    pub const IPV4: u16 = 1;
    /// IPv6.
    pub const IPV6: u16 = 2;
}

/// Registry "Subsequent Address Family Identifiers (SAFI) Parameters".
pub mod safi {
    /// RFC 4760 §6.
    pub const UNICAST: u8 = 1;
}

/// Registry "BGP Path Attributes".
pub mod attribute_code {
    /// RFC 4271 §5.1.1.
    pub const ORIGIN: u8 = 1;
    /// RFC 4271 §5.1.2.
    pub const AS_PATH: u8 = 2;
    /// RFC 4271 §5.1.3.
    pub const NEXT_HOP: u8 = 3;
    /// RFC 4271 §5.1.4.
    pub const MULTI_EXIT_DISC: u8 = 4;
    /// RFC 4271 §5.1.5.
    pub const LOCAL_PREF: u8 = 5;
    /// RFC 4271 §5.1.6.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// RFC 4271 §5.1.7.
    pub const AGGREGATOR: u8 = 7;
    /// RFC 1997.
    pub const COMMUNITIES: u8 = 8;
    /// RFC 4456 §8.
    pub const ORIGINATOR_ID: u8 = 9;
    /// RFC 4456 §8.
    pub const CLUSTER_LIST: u8 = 10;
    /// RFC 4760 §3.
    pub const MP_REACH_NLRI: u8 = 14;
    /// RFC 4760 §4.
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// RFC 4360 §2.
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// RFC 6793 §3.
    pub const AS4_PATH: u8 = 17;
    /// RFC 6793 §3.
    pub const AS4_AGGREGATOR: u8 = 18;
    /// RFC 5543 §3.
    pub const TRAFFIC_ENGINEERING: u8 = 24;
    /// RFC 5701 §2.
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    /// RFC 7311 §3.
    pub const AIGP: u8 = 26;
    /// RFC 8092 §3.
    pub const LARGE_COMMUNITY: u8 = 32;
    /// RFC 9234 §5.
    pub const OTC: u8 = 35;
    /// RFC 6368 §5.
    pub const ATTR_SET: u8 = 128;
}

/// Attribute Flags (RFC 4271 §4.3).
pub mod attribute_flag {
    /// Set: optional. Clear: well-known.
    pub const OPTIONAL: u8 = 0x80;
    /// Set: passed on by those who do not know it.
    pub const TRANSITIVE: u8 = 0x40;
    /// Somebody on the way did not know it.
    pub const PARTIAL: u8 = 0x20;
    /// Attribute Length is two octets.
    pub const EXTENDED_LENGTH: u8 = 0x10;
}

/// AS_PATH segment types (RFC 4271 §4.3, RFC 5065 §3).
pub mod segment_type {
    /// AS_SET.
    pub const SET: u8 = 1;
    /// AS_SEQUENCE.
    pub const SEQUENCE: u8 = 2;
    /// AS_CONFED_SEQUENCE.
    pub const CONFED_SEQUENCE: u8 = 3;
    /// AS_CONFED_SET.
    pub const CONFED_SET: u8 = 4;
}

/// Registry "BGP Error (Notification) Codes".
pub mod error_code {
    /// RFC 4271 §6.1.
    pub const MESSAGE_HEADER: u8 = 1;
    /// RFC 4271 §6.2.
    pub const OPEN: u8 = 2;
    /// RFC 4271 §6.3.
    pub const UPDATE: u8 = 3;
    /// RFC 4271 §6.5.
    pub const HOLD_TIMER_EXPIRED: u8 = 4;
    /// RFC 4271 §6.6.
    pub const FINITE_STATE_MACHINE: u8 = 5;
    /// RFC 4271 §6.7.
    pub const CEASE: u8 = 6;
    /// RFC 7313 §5.
    pub const ROUTE_REFRESH: u8 = 7;
}

/// The subcode of an error that no subcode describes.
pub const UNSPECIFIC: u8 = 0;

/// Registry "Message Header Error subcodes".
pub mod header_error {
    /// The marker is not all ones.
    pub const CONNECTION_NOT_SYNCHRONIZED: u8 = 1;
    /// Data: the Length field.
    pub const BAD_MESSAGE_LENGTH: u8 = 2;
    /// Data: the Type field.
    pub const BAD_MESSAGE_TYPE: u8 = 3;
}

/// Registry "OPEN Message Error subcodes".
pub mod open_error {
    /// Data: the largest version that we speak, two octets.
    pub const UNSUPPORTED_VERSION_NUMBER: u8 = 1;
    /// The AS number is not the one expected.
    pub const BAD_PEER_AS: u8 = 2;
    /// Zero, or ours.
    pub const BAD_BGP_IDENTIFIER: u8 = 3;
    /// An optional parameter that we do not know.
    pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
    /// One or two seconds.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// Data: the capabilities that we insist on (RFC 5492 §5).
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// RFC 9234 §4.2.
    pub const ROLE_MISMATCH: u8 = 11;
}

/// Registry "UPDATE Message Error subcodes".
pub mod update_error {
    /// The list of attributes cannot be walked.
    pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
    /// Data: the attribute.
    pub const UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE: u8 = 2;
    /// Data: the Attribute Type Code.
    pub const MISSING_WELL_KNOWN_ATTRIBUTE: u8 = 3;
    /// Data: the attribute.
    pub const ATTRIBUTE_FLAGS_ERROR: u8 = 4;
    /// Data: the attribute.
    pub const ATTRIBUTE_LENGTH_ERROR: u8 = 5;
    /// Data: the attribute.
    pub const INVALID_ORIGIN_ATTRIBUTE: u8 = 6;
    /// Data: the attribute.
    pub const INVALID_NEXT_HOP_ATTRIBUTE: u8 = 8;
    /// Data: the attribute.
    pub const OPTIONAL_ATTRIBUTE_ERROR: u8 = 9;
    /// The NLRI or Withdrawn Routes field cannot be walked.
    pub const INVALID_NETWORK_FIELD: u8 = 10;
    /// AS_PATH cannot be walked.
    pub const MALFORMED_AS_PATH: u8 = 11;
}

/// Registry "BGP Finite State Machine Error Subcodes" (RFC 6608).
pub mod fsm_error {
    /// In OpenSent.
    pub const UNEXPECTED_MESSAGE_IN_OPEN_SENT: u8 = 1;
    /// In OpenConfirm.
    pub const UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM: u8 = 2;
    /// In Established.
    pub const UNEXPECTED_MESSAGE_IN_ESTABLISHED: u8 = 3;
}

/// Registry "BGP Cease NOTIFICATION message subcodes" (RFC 4486, RFC 8538, RFC 9384).
pub mod cease {
    /// More prefixes than configured.
    pub const MAXIMUM_NUMBER_OF_PREFIXES_REACHED: u8 = 1;
    /// With a shutdown communication (RFC 9003).
    pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
    /// The peer was removed from the configuration.
    pub const PEER_DE_CONFIGURED: u8 = 3;
    /// With a shutdown communication (RFC 9003).
    pub const ADMINISTRATIVE_RESET: u8 = 4;
    /// Not welcome, after the connection was accepted.
    pub const CONNECTION_REJECTED: u8 = 5;
    /// Some other change of configuration.
    pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
    /// RFC 4271 §6.8.
    pub const CONNECTION_COLLISION_RESOLUTION: u8 = 7;
    /// Short of something.
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// RFC 8538 §3: the data are another NOTIFICATION's code, subcode and data.
    pub const HARD_RESET: u8 = 9;
    /// RFC 9384 §3.
    pub const BFD_DOWN: u8 = 10;
}

/// Registry "BGP ROUTE-REFRESH Message Error subcodes" (RFC 7313 §5).
pub mod route_refresh_error {
    /// Data: the message.
    pub const INVALID_MESSAGE_LENGTH: u8 = 1;
}

/// AS_TRANS, which stands for a number that two octets cannot hold (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

/// The name of an attribute; `None`: not one that we know.
pub fn attribute_name(code: u8) -> Option<&'static str> {
    use attribute_code::*;
    Some(match code {
        ORIGIN => "ORIGIN",
        AS_PATH => "AS_PATH",
        NEXT_HOP => "NEXT_HOP",
        MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        LOCAL_PREF => "LOCAL_PREF",
        ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        AGGREGATOR => "AGGREGATOR",
        COMMUNITIES => "COMMUNITIES",
        ORIGINATOR_ID => "ORIGINATOR_ID",
        CLUSTER_LIST => "CLUSTER_LIST",
        MP_REACH_NLRI => "MP_REACH_NLRI",
        MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        EXTENDED_COMMUNITIES => "EXTENDED COMMUNITIES",
        AS4_PATH => "AS4_PATH",
        AS4_AGGREGATOR => "AS4_AGGREGATOR",
        TRAFFIC_ENGINEERING => "Traffic Engineering",
        IPV6_EXTENDED_COMMUNITIES => "IPv6 Address Specific Extended Community",
        AIGP => "AIGP",
        LARGE_COMMUNITY => "LARGE_COMMUNITY",
        OTC => "OTC",
        ATTR_SET => "ATTR_SET",
        _ => return None,
    })
}

/// The name of a NOTIFICATION's error code; `None`: not one that we know.
pub fn error_name(code: u8) -> Option<&'static str> {
    use error_code::*;
    Some(match code {
        MESSAGE_HEADER => "Message Header Error",
        OPEN => "OPEN Message Error",
        UPDATE => "UPDATE Message Error",
        HOLD_TIMER_EXPIRED => "Hold Timer Expired",
        FINITE_STATE_MACHINE => "Finite State Machine Error",
        CEASE => "Cease",
        ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
        _ => return None,
    })
}

/// The name of a NOTIFICATION's error subcode; `None`: not one that we know, or [`UNSPECIFIC`].
pub fn error_subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (error_code::MESSAGE_HEADER, header_error::CONNECTION_NOT_SYNCHRONIZED) => {
            "Connection Not Synchronized"
        }
        (error_code::MESSAGE_HEADER, header_error::BAD_MESSAGE_LENGTH) => "Bad Message Length",
        (error_code::MESSAGE_HEADER, header_error::BAD_MESSAGE_TYPE) => "Bad Message Type",

        (error_code::OPEN, open_error::UNSUPPORTED_VERSION_NUMBER) => "Unsupported Version Number",
        (error_code::OPEN, open_error::BAD_PEER_AS) => "Bad Peer AS",
        (error_code::OPEN, open_error::BAD_BGP_IDENTIFIER) => "Bad BGP Identifier",
        (error_code::OPEN, open_error::UNSUPPORTED_OPTIONAL_PARAMETER) => {
            "Unsupported Optional Parameter"
        }
        (error_code::OPEN, open_error::UNACCEPTABLE_HOLD_TIME) => "Unacceptable Hold Time",
        (error_code::OPEN, open_error::UNSUPPORTED_CAPABILITY) => "Unsupported Capability",
        (error_code::OPEN, open_error::ROLE_MISMATCH) => "Role Mismatch",

        (error_code::UPDATE, update_error::MALFORMED_ATTRIBUTE_LIST) => "Malformed Attribute List",
        (error_code::UPDATE, update_error::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE) => {
            "Unrecognized Well-known Attribute"
        }
        (error_code::UPDATE, update_error::MISSING_WELL_KNOWN_ATTRIBUTE) => {
            "Missing Well-known Attribute"
        }
        (error_code::UPDATE, update_error::ATTRIBUTE_FLAGS_ERROR) => "Attribute Flags Error",
        (error_code::UPDATE, update_error::ATTRIBUTE_LENGTH_ERROR) => "Attribute Length Error",
        (error_code::UPDATE, update_error::INVALID_ORIGIN_ATTRIBUTE) => "Invalid ORIGIN Attribute",
        (error_code::UPDATE, update_error::INVALID_NEXT_HOP_ATTRIBUTE) => {
            "Invalid NEXT_HOP Attribute"
        }
        (error_code::UPDATE, update_error::OPTIONAL_ATTRIBUTE_ERROR) => "Optional Attribute Error",
        (error_code::UPDATE, update_error::INVALID_NETWORK_FIELD) => "Invalid Network Field",
        (error_code::UPDATE, update_error::MALFORMED_AS_PATH) => "Malformed AS_PATH",

        (error_code::FINITE_STATE_MACHINE, fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_SENT) => {
            "Receive Unexpected Message in OpenSent State"
        }
        (error_code::FINITE_STATE_MACHINE, fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM) => {
            "Receive Unexpected Message in OpenConfirm State"
        }
        (error_code::FINITE_STATE_MACHINE, fsm_error::UNEXPECTED_MESSAGE_IN_ESTABLISHED) => {
            "Receive Unexpected Message in Established State"
        }

        (error_code::CEASE, cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED) => {
            "Maximum Number of Prefixes Reached"
        }
        (error_code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN) => "Administrative Shutdown",
        (error_code::CEASE, cease::PEER_DE_CONFIGURED) => "Peer De-configured",
        (error_code::CEASE, cease::ADMINISTRATIVE_RESET) => "Administrative Reset",
        (error_code::CEASE, cease::CONNECTION_REJECTED) => "Connection Rejected",
        (error_code::CEASE, cease::OTHER_CONFIGURATION_CHANGE) => "Other Configuration Change",
        (error_code::CEASE, cease::CONNECTION_COLLISION_RESOLUTION) => {
            "Connection Collision Resolution"
        }
        (error_code::CEASE, cease::OUT_OF_RESOURCES) => "Out of Resources",
        (error_code::CEASE, cease::HARD_RESET) => "Hard Reset",
        (error_code::CEASE, cease::BFD_DOWN) => "BFD Down",

        (error_code::ROUTE_REFRESH, route_refresh_error::INVALID_MESSAGE_LENGTH) => {
            "Invalid Message Length"
        }
        _ => return None,
    })
}
