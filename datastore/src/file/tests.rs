//! The file backend as people and other processes meet it.
