//! The payment channels: wire types, signing, verification, status parsing.
