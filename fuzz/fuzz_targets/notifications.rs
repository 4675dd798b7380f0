//! Calls to our public address: the first byte chooses the channel, headers follow up to an empty line, then the body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((which, call)) = data.split_first() {
        channels::fuzzing::notification(*which, call);
    }
});
