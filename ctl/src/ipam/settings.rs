//! `ipam configure`, and what it has set.

use std::sync::Arc;

use caracal_datastore::{Datastore, IPAMConfig, StoreError, Stored, TypedStore};

use super::args::Configure;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::table::Table;

/// How often others may be faster.
const TRIES: usize = 10;

/// The command.
pub(crate) async fn configure(
    store: &Arc<dyn Datastore>,
    args: &Configure,
) -> Result<Outcome, Failure> {
    let store = TypedStore(Arc::clone(store));
    let mut last = None;
    for _ in 0..TRIES {
        let stored = store.get::<IPAMConfig>("default").await?;
        let is_new = stored.is_none();
        let mut stored = stored.unwrap_or_else(|| Stored::new("default", IPAMConfig::default()));
        if let Some(strict) = args.strictaffinity {
            stored.spec.strict_affinity = strict;
        }
        if let Some(count) = args.max_blocks_per_host {
            stored.spec.max_blocks_per_host = count;
        }
        let written = match is_new {
            true => store.create(stored).await,
            false => store.update(stored).await,
        };
        match written {
            Ok(_) => return Ok(Outcome::text(words(args))),
            Err(
                error @ (StoreError::Exists(_) | StoreError::Conflict(_) | StoreError::NotFound(_)),
            ) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => Ok(Outcome::default()),
    }
}

fn words(args: &Configure) -> String {
    let mut out = String::new();
    if let Some(strict) = args.strictaffinity {
        out.push_str(&format!("Successfully set StrictAffinity to: {strict}\n"));
    }
    if let Some(count) = args.max_blocks_per_host {
        out.push_str(&format!("Successfully set MaxBlocksPerHost to: {count}\n"));
    }
    out
}

/// As `calicoctl ipam show --show-configuration`.
pub(crate) async fn show(store: &Arc<dyn Datastore>) -> Result<Outcome, Failure> {
    let stored = TypedStore(Arc::clone(store))
        .get::<IPAMConfig>("default")
        .await?;
    let config = stored.map(|stored| stored.spec).unwrap_or_default();
    let mut table = Table::new(["PROPERTY", "VALUE"]);
    let blocks = match config.max_blocks_per_host {
        0 => format!("0 ({})", config.blocks_per_host()),
        count => count.to_string(),
    };
    for (property, value) in [
        ("StrictAffinity", config.strict_affinity.to_string()),
        (
            "AutoAllocateBlocks",
            config.auto_allocate_blocks.to_string(),
        ),
        ("MaxBlocksPerHost", blocks),
        (
            "IPCooldownSeconds",
            config.ip_cooldown_seconds.unwrap_or(0).to_string(),
        ),
    ] {
        table.row([property.to_owned(), value]);
    }
    Ok(Outcome::text(table.framed()))
}
