//! What a channel's server may answer: cut, split, read. Unsigned bytes must prove nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| channels::fuzzing::answer(data));
