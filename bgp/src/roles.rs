//! Roles (RFC 9234): what we and an external peer are to each other, and OTC, Only to Customer, which keeps routes from
//! leaking upwards.
//!
//! ```text
//!   we are        it must be      from it                              to it
//!   provider      customer        with OTC: a leak                     gets OTC, ours
//!   customer      provider        gets OTC, its AS                     with OTC: not sent
//!   route server  client          with OTC: a leak                     gets OTC, ours
//!   client        route server    gets OTC, its AS                     with OTC: not sent
//!   peer          peer            OTC not its AS: a leak; gets OTC     with OTC: not sent; gets OTC, ours
//! ```

use crate::wire::iana::{capability_code, error_code, open_error};
use crate::wire::{Capability, Notification, Open, Role};

/// Whether the peer's OPEN fits our role (RFC 9234 §4.2); what does not is said in words.
pub(crate) fn agree(ours: Role, strict: bool, open: &Open) -> Result<(), String> {
    let must_be = ours.counterpart();
    let mut said = false;
    for capability in &open.capabilities {
        match capability {
            Capability::Role(role) if *role == must_be => said = true,
            Capability::Role(role) => {
                return Err(format!(
                    "we are {ours}, so the peer must be {must_be}, and it is {role}"
                ));
            }
            Capability::Unknown { code, value } if *code == capability_code::ROLE => {
                return Err(format!(
                    "we are {ours}, so the peer must be {must_be}, and its role is {value:?}"
                ));
            }
            _ => {}
        }
    }
    if strict && !said {
        return Err(format!(
            "we are {ours}, and the peer does not say what it is"
        ));
    }
    Ok(())
}

/// Role Mismatch.
pub(crate) fn mismatch() -> Notification {
    Notification::new(error_code::OPEN, open_error::ROLE_MISMATCH, &[])
}

/// A path with this OTC from a peer of that AS to which we are `ours` has leaked (RFC 9234 §5, ingress 1 and 2).
pub(crate) fn has_leaked(ours: Role, remote_asn: u32, otc: Option<u32>) -> bool {
    match ours {
        Role::Provider | Role::RouteServer => otc.is_some(),
        Role::Peer => otc.is_some_and(|asn| asn != remote_asn),
        Role::Customer | Role::RouteServerClient => false,
    }
}

/// Its OTC when we have taken it (ingress 3).
pub(crate) fn taken(ours: Role, remote_asn: u32, otc: Option<u32>) -> Option<u32> {
    match ours {
        Role::Customer | Role::RouteServerClient | Role::Peer => otc.or(Some(remote_asn)),
        Role::Provider | Role::RouteServer => otc,
    }
}

/// A path with an OTC must not go to a peer to which we are `ours` (egress 2).
pub(crate) fn is_only_for_customers(ours: Role) -> bool {
    matches!(ours, Role::Customer | Role::RouteServerClient | Role::Peer)
}

/// Its OTC when we send it (egress 1).
pub(crate) fn sent(ours: Role, local_asn: u32, otc: Option<u32>) -> Option<u32> {
    match ours {
        Role::Provider | Role::RouteServer | Role::Peer => otc.or(Some(local_asn)),
        Role::Customer | Role::RouteServerClient => otc,
    }
}

#[cfg(test)]
mod tests;
