//! What gets out.
