//! Keys and signature primitives that the channels and the sandbox share.
