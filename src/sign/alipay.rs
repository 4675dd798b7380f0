//! Alipay, RSA2: all parameters by name, values raw (protocol section 1.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Request, View,
    form::{encoded, joined, pairs, raw_characters, sorted},
};

pub(super) fn view(request: &Request) -> Result<View, String> {
    let all = pairs(request.query(), &request.body);
    let given = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let signature = given("sign").ok_or("the request has no parameter sign")?;
    let kept = sorted(&all, &["sign"]);
    let right = joined(&kept);
    let mut view = View {
        text: right.clone().into_bytes(),
        signed: right.clone().into_bytes(),
        signature: STANDARD.decode(signature.replace(' ', "+")).ok(),
        mistakes: Vec::new(),
        remarks: Vec::new(),
        serial: given("app_cert_sn").map(str::to_owned),
        at: None,
        server: None,
    };
    if signature.contains(' ') {
        view.remark("plus_not_encoded", "a + of the signature arrived as a blank: percent-encode it as %2B");
    } else if view.signature.is_none() {
        view.remark("signature_not_base64", "sign is not base64 with padding");
    }
    let sent = format!("{}&{}", request.query(), String::from_utf8_lossy(&request.body));
    if let Some(odd) = raw_characters(&sent) {
        let problem =
            format!("{odd:?} stand raw in the form: percent-encode every value, after signing it raw");
        view.remark("not_percent_encoded", problem);
    }
    let known = [
        "app_id",
        "method",
        "format",
        "charset",
        "sign_type",
        "sign",
        "timestamp",
        "version",
        "notify_url",
        "return_url",
        "app_auth_token",
        "auth_token",
        "app_cert_sn",
        "alipay_root_cert_sn",
        "alipay_cert_sn",
        "encrypt_type",
        "biz_content",
    ];
    for (name, _) in all.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        let problem = format!("{name:?} is no common parameter: a raw & or = inside a value cuts it in two");
        view.remark("value_cut", problem);
    }
    if given("sign_type").is_some_and(|kind| kind != "RSA2") {
        view.remark("sign_type_wrong", "sign_type is not RSA2");
    }
    let unsorted: Vec<_> = all.iter().filter(|(n, v)| n != "sign" && !v.is_empty()).collect();
    let in_order = joined(unsorted.iter().map(|(n, v)| (n, v)));
    view.mistake("not_sorted", "parameters are signed in ASCII order of their names", in_order);
    let without = joined(&sorted(&all, &["sign", "sign_type"]));
    view.mistake(
        "sign_type_left_out",
        "in requests sign_type is signed (in notifications it is not)",
        without,
    );
    let percent: Vec<(String, String)> = kept.iter().map(|(n, v)| (n.clone(), encoded(v))).collect();
    view.mistake(
        "signed_encoded",
        "sign the raw values; percent-encode afterwards",
        joined(percent.iter().map(|(n, v)| (n, v))),
    );
    let query_only = joined(&sorted(&pairs(request.query(), b""), &["sign"]));
    view.mistake("body_left_out", "biz_content in the body is signed together with the query", query_only);
    let mut empties: Vec<_> = all.iter().filter(|(n, _)| n != "sign").cloned().collect();
    empties.sort();
    view.mistake(
        "empty_kept",
        "parameters without a value are left out",
        joined(empties.iter().map(|(n, v)| (n, v))),
    );
    if let Some(biz) = given("biz_content").and_then(|b| serde_json::from_str::<serde_json::Value>(b).ok()) {
        for text in [biz.to_string(), serde_json::to_string_pretty(&biz).unwrap_or_default()] {
            let mut other = kept.clone();
            other.insert("biz_content".to_owned(), text);
            let advice =
                "biz_content was written again after it was signed: make its text once, sign and send it";
            view.mistake("body_re_encoded", advice, joined(&other));
        }
    }
    let (gbk, _, _) = encoding_rs::GBK.encode(&right);
    view.mistake(
        "charset_differs",
        "the string is signed in the charset that the parameter charset names",
        gbk.into_owned(),
    );
    Ok(view)
}
