//! What any client may send to the sandbox: forms, multipart bodies, authorization headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sandbox::fuzzing::request(data));
