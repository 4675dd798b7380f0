//! Rushpay's front door.
fn main() {}
