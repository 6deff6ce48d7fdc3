//! Dry runs: what would be taken from a peer or sent to it, and why. Nothing changes.

use ipnet::IpNet;

use super::Speaker;
use crate::connection::Connection;
use crate::peer::Peer;
use crate::peer_key::PeerKey;
use crate::policy::Policy;
use crate::view::{ExportView, ImportView};

impl Speaker {
    /// What the peer gets of one prefix or of all, path by path in order of prefix, and why.
    ///
    /// # Errors
    /// It is no peer of ours, or has no session.
    pub fn explain_export(
        &self,
        remote: impl Into<PeerKey>,
        prefix: Option<&IpNet>,
    ) -> Result<Vec<ExportView>, String> {
        let remote = remote.into();
        let (peer, _) = self.in_session(&remote)?;
        self.explain_export_with(remote, prefix, &peer.config.export)
    }

    /// The same with another export policy than the peer's.
    ///
    /// # Errors
    /// As [`Speaker::explain_export`].
    pub fn explain_export_with(
        &self,
        remote: impl Into<PeerKey>,
        prefix: Option<&IpNet>,
        policy: &Policy,
    ) -> Result<Vec<ExportView>, String> {
        let remote = remote.into();
        let (peer, session) = self.in_session(&remote)?;
        let terms = peer.terms(&self.config, session);
        let mut terms = terms.ok_or_else(|| format!("peer {remote}: not Established"))?;
        terms.policy = policy.program(&peer.session_peer());
        Ok(self.rib.explain_export(peer.id, &terms, prefix))
    }

    /// What becomes of one prefix or of all that the peer has sent, in order of prefix, and why.
    ///
    /// # Errors
    /// It is no peer of ours, or has no session.
    pub fn explain_import(
        &self,
        remote: impl Into<PeerKey>,
        prefix: Option<&IpNet>,
    ) -> Result<Vec<ImportView>, String> {
        let remote = remote.into();
        let (peer, _) = self.in_session(&remote)?;
        self.explain_import_with(remote, prefix, &peer.config.import)
    }

    /// The same with another import policy than the peer's.
    ///
    /// # Errors
    /// As [`Speaker::explain_import`].
    pub fn explain_import_with(
        &self,
        remote: impl Into<PeerKey>,
        prefix: Option<&IpNet>,
        policy: &Policy,
    ) -> Result<Vec<ImportView>, String> {
        let remote = remote.into();
        let (peer, session) = self.in_session(&remote)?;
        let mut importer = peer.importer(&self.config, session);
        importer.policy = policy.program(&peer.session_peer());
        Ok(self.rib.explain_import(peer.id, &importer, prefix))
    }

    pub(super) fn in_session(
        &self,
        remote: impl Into<PeerKey>,
    ) -> Result<(&Peer, &Connection), String> {
        let remote = remote.into();
        let id = self.find(&remote);
        let peer = id.and_then(|id| self.peers.get(&id));
        let peer = peer.ok_or_else(|| format!("{remote} is not a configured peer"))?;
        let session = peer.established();
        let session = session.ok_or_else(|| {
            let state = peer.state().name();
            format!(
                "peer {remote}: {state}; what would go over a session is known with the session"
            )
        })?;
        Ok((peer, session))
    }
}
