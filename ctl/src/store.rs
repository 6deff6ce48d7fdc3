//! The datastore that the command line names.

use std::path::PathBuf;
use std::sync::Arc;

use caracal_datastore::{Datastore, FileDatastore, StoreError};

use crate::cli::{DatastoreType, Places};
use crate::failure::{Failure, Sort};

/// Opens it.
pub(crate) async fn open(places: &Places) -> Result<Arc<dyn Datastore>, Failure> {
    let path = path(places);
    match places.datastore_type {
        DatastoreType::File => match FileDatastore::open(&path).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(StoreError::Unavailable { why, .. }) => Err(Failure::new(
                Sort::Unavailable,
                format!(
                    "datastore {}: {why} (--datastore names another)",
                    path.display()
                ),
            )),
            Err(error) => Err(error.into()),
        },
    }
}

fn path(places: &Places) -> PathBuf {
    places
        .datastore
        .clone()
        .or_else(|| std::env::var_os("CARACAL_DATASTORE_PATH").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(PATH_DEFAULT))
}

/// As the agent's.
const PATH_DEFAULT: &str = "/var/lib/caracal/store";
