//! Bills of every channel: the first byte chooses the reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((which, file)) = data.split_first() {
        channels::fuzzing::bill(*which, file);
    }
});
