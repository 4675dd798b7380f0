//! UnionPay 5.1.0: fields by name, hashed, and the hex text signed (protocol section 3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keys::sha256_hex;

use super::{
    Request, View,
    form::{encoded, joined, pairs, raw_characters, sorted},
};

pub(super) fn view(request: &Request) -> Result<View, String> {
    let all = pairs(request.query(), &request.body);
    let given = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let signature = given("signature").ok_or("the request has no field signature")?;
    let kept = sorted(&all, &["signature"]);
    let right = joined(&kept);
    let mut view = View {
        text: right.clone().into_bytes(),
        signed: sha256_hex(right.as_bytes()).into_bytes(),
        signature: STANDARD.decode(signature.replace(' ', "+")).ok(),
        mistakes: Vec::new(),
        remarks: Vec::new(),
        serial: given("certId").map(str::to_owned),
        at: None,
        server: None,
    };
    if signature.contains(' ') {
        view.remark("plus_not_encoded", "a + of the signature arrived as a blank: percent-encode it as %2B");
    }
    if let Some(odd) = raw_characters(&String::from_utf8_lossy(&request.body)) {
        let problem =
            format!("{odd:?} stand raw in the form: percent-encode every value, after signing it raw");
        view.remark("not_percent_encoded", problem);
    }
    if given("version").is_some_and(|version| version != "5.1.0") {
        view.remark("version_wrong", "version is not 5.1.0; 5.0.0 signs with SHA-1");
    }
    if given("certId").is_some_and(|id| id.bytes().any(|c| !c.is_ascii_digit())) {
        view.remark("serial_in_hex", "certId is the serial as a decimal number, not in hex");
    }
    let twice = |text: String| sha256_hex(text.as_bytes());
    view.mistake("hashed_once", "the hex text of the hash is what is signed: hash twice", right.clone());
    view.mistake(
        "hashed_once",
        "the hex text is in lower case",
        sha256_hex(right.as_bytes()).to_ascii_uppercase(),
    );
    let unsorted: Vec<_> = all.iter().filter(|(n, v)| n != "signature" && !v.is_empty()).collect();
    view.mistake(
        "not_sorted",
        "fields are signed in ASCII order of their names",
        twice(joined(unsorted.iter().map(|(n, v)| (n, v)))),
    );
    let percent: Vec<(String, String)> = kept.iter().map(|(n, v)| (n.clone(), encoded(v))).collect();
    view.mistake(
        "signed_encoded",
        "sign the raw values; percent-encode afterwards",
        twice(joined(percent.iter().map(|(n, v)| (n, v)))),
    );
    let mut empties: Vec<_> = all.iter().filter(|(n, _)| n != "signature").cloned().collect();
    empties.sort();
    view.mistake(
        "empty_kept",
        "fields without a value are left out",
        twice(joined(empties.iter().map(|(n, v)| (n, v)))),
    );
    view.mistake(
        "certid_left_out",
        "certId is signed too",
        twice(joined(&sorted(&all, &["signature", "certId"]))),
    );
    view.mistake(
        "signmethod_left_out",
        "signMethod is signed too",
        twice(joined(&sorted(&all, &["signature", "signMethod"]))),
    );
    Ok(view)
}
