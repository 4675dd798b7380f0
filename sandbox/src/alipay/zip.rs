//! A ZIP file with stored entries whose names are GBK bytes **without** the flag that says UTF-8, as Alipay writes
//! them (protocol section 3.4). Libraries set that flag for every name that is not ASCII, so this one is our own.

use flate2::Crc;

fn le(number: usize, bytes: usize) -> Vec<u8> {
    u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes().into_iter().take(bytes).collect()
}

/// What local header and directory have in common: versions aside, up to the lengths.
fn common(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    // flags and method: none; time and date: 1 January 2026.
    let fixed: [u8; 8] = [0, 0, 0, 0, 0, 0, 0x21, 0x5c];
    let mut all = fixed.to_vec();
    all.extend(crc.sum().to_le_bytes());
    all.extend([le(content.len(), 4), le(content.len(), 4), le(name.len(), 2), le(0, 2)].concat());
    all
}

/// The file.
pub(crate) fn stored(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = file.len();
        file.extend([b"PK\x03\x04\x14\x00", common(name, content).as_slice(), name, content].concat());
        let rest = [le(0, 2), le(0, 2), le(0, 2), le(0, 4), le(offset, 4)].concat();
        directory.extend(
            [b"PK\x01\x02\x14\x00\x14\x00", common(name, content).as_slice(), rest.as_slice(), name].concat(),
        );
    }
    let (count, start, size) = (le(entries.len(), 2), le(file.len(), 4), le(directory.len(), 4));
    file.extend(directory);
    file.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &size, &start, &[0; 2]].concat());
    file
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    #[test]
    fn a_library_reads_what_is_written() {
        let file = super::stored(&[(b"a.csv", b"one"), (b"\xd2\xb5.csv", b"two, longer")]);
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file)).unwrap();
        let mut texts = Vec::new();
        for n in 0..zip.len() {
            let mut text = String::new();
            zip.by_index(n).unwrap().read_to_string(&mut text).unwrap();
            texts.push(text);
        }
        assert_eq!(texts, ["one", "two, longer"]);
    }
}
