//! Bills of every channel, good and spoilt: what is refused is refused whole, with its line.

use std::io::{Cursor, Write as _};

use domain::Timestamp;
use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{BillKind, BillLine, BillRefused, alipay, campus_card, unionpay, wechat};

type Read = Result<Vec<BillLine>, BillRefused>;

fn collect(read: impl FnOnce(crate::EachLine<'_>) -> Result<(), BillRefused>) -> Read {
    let mut lines = Vec::new();
    read(&mut |line| lines.push(line)).map(|()| lines)
}

const WECHAT: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r
`2026-01-01 09:30:12,`wx0000000000000001,`1900000001,`0,`,`4200000000202601010000000002,`T20260101000002,`oSANDBOX0000000000000000001,`NATIVE,`SUCCESS,`OTHERS,`CNY,`50.00,`0.00,`0,`0,`0.00,`0.00,`,`,`宿舍电费, 一号楼,`,`0.30000,`0.60%,`50.00,`0.00,`\r
`2026-01-01 15:04:05,`wx0000000000000001,`1900000001,`0,`,`4200000000202601010000000002,`T20260101000002,`oSANDBOX0000000000000000001,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`50300000002026010100000000001,`R20260101000001,`20.00,`0.00,`ORIGINAL,`SUCCESS,`宿舍电费, 一号楼,`,`-0.12000,`0.60%,`0.00,`20.00,`\r
总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r
`2,`50.00,`20.00,`0.00,`0.18000,`50.00,`20.00\r
";

fn wechat(text: &str) -> Read {
    collect(|each| wechat::bill_file::read(&mut Cursor::new(text.as_bytes()), "1900000001", each))
}

fn refused(read: &Read) -> (usize, &str) {
    read.as_ref().err().map_or((usize::MAX, "read"), |e| (e.line, e.problem.as_str()))
}

#[test]
fn wechats_bill_is_read_whole_or_refused_with_its_line() {
    let lines = wechat(WECHAT).unwrap();
    let short: Vec<_> =
        lines.iter().map(|l| (l.line, l.kind, l.amount.fen(), l.fee_fen, l.refund_no.as_deref())).collect();
    assert_eq!(
        short,
        [(2, BillKind::Payment, 5000, 30, None), (3, BillKind::Refund, 2000, -12, Some("R20260101000001"))]
    );
    assert_eq!(
        (lines[0].channel_order_no.as_str(), lines[1].trade_no.as_str()),
        ("T20260101000002", "50300000002026010100000000001")
    );
    let cut = WECHAT.find("总交易单数").unwrap();
    for (why, text, line) in [
        ("cut off", WECHAT[..cut].to_owned(), 3),
        ("cut off in the summary", WECHAT[..WECHAT.rfind("`2,").unwrap()].to_owned(), 4),
        ("unknown column", WECHAT.replace("设备号", "新列"), 1),
        ("column missing", WECHAT.replacen(",手续费", "", 1), 1),
        ("too few values", WECHAT.replace("`OTHERS,`CNY,`50.00,", "`OTHERS,`50.00,"), 2),
        ("another merchant", WECHAT.replace("`1900000001,", "`1900000002,"), 2),
        ("new state", WECHAT.replace("`REFUND,", "`FROZEN,"), 3),
        ("not an amount", WECHAT.replace("`50.00,`0.00,`\r", "`fifty,`0.00,`\r"), 2),
        ("sums disagree", WECHAT.replace("`0.18000,`50.00", "`0.18000,`50.01"), 5),
        ("a line lost", WECHAT.replace(WECHAT.lines().nth(2).unwrap(), ""), 5),
        ("cut off in the last value", WECHAT.trim_end()[..WECHAT.trim_end().len() - 1].to_owned(), 5),
        ("empty", String::new(), 1),
    ] {
        assert_eq!(refused(&wechat(&text)).0, line, "{why}: {:?}", wechat(&text));
    }
    let mut bytes = WECHAT.as_bytes().to_vec();
    let third = bytes.iter().enumerate().filter(|(_, c)| **c == b'\n').nth(1).unwrap().0 + 3;
    bytes[third] = 0xff;
    let read = collect(|each| wechat::bill_file::read(&mut Cursor::new(&bytes), "1900000001", each));
    assert_eq!(refused(&read), (3, "not UTF-8"));
}

const CARD: &str = "#CARD-STATEMENT,1,M1001,2026-01-01,CNY
row_type,order_no,refund_no,vendor_no,account_type,account_no,amount,fee,finished_at,terminal_id,subject
PAY,\"P20260101000001\",\"\",\"V0000000001\",\"STUDENT_NO\",\"2024000001\",1250,0,2026-01-01T08:00:00+08:00,\"\",\"a \"\"b\"\", c\"
REFUND,\"P20260101000001\",\"R20260101000001\",\"V0000000002\",\"STUDENT_NO\",\"2024000001\",250,0,2026-01-01T09:00:00+08:00,\"\",\"宿舍电费\"
#TRAILER,2,1,1250,0,0,1,250,0,1000
";

fn card(text: &str) -> Read {
    collect(|each| {
        campus_card::statement_file::read(&mut Cursor::new(text.as_bytes()), "M1001", "2026-01-01", each)
    })
}

#[test]
fn the_cards_statement_is_read_whole_or_refused_with_its_line() {
    let lines = card(CARD).unwrap();
    assert_eq!(
        lines.iter().map(|l| (l.kind, l.amount.fen())).collect::<Vec<_>>(),
        [(BillKind::Payment, 1250), (BillKind::Refund, 250)]
    );
    assert_eq!(lines[0].at, Timestamp::from_secs(1_767_225_600));
    for (why, text, line) in [
        ("cut off", CARD[..CARD.find("#TRAILER").unwrap()].to_owned(), 4),
        ("another day", CARD.replace("01-01,CNY", "01-02,CNY"), 1),
        ("unknown column", CARD.replace("subject", "weather"), 2),
        ("unknown kind", CARD.replace("REFUND,\"P", "GIFT,\"P"), 4),
        ("open quote", CARD.replace("宿舍电费\"", "宿舍电费"), 4),
        ("sums disagree", CARD.replace("1250,0,2026", "1251,0,2026"), 5),
        ("negative", CARD.replace(",250,0,", ",-250,0,"), 4),
        ("more behind the end", format!("{CARD}PAY\n"), 6),
    ] {
        assert_eq!(refused(&card(&text)).0, line, "{why}: {:?}", card(&text));
    }
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap().into_inner()
}

const ALIPAY: &str = "#支付宝业务明细查询\r
#账号：[20880000000000020156]\r
#-----------------------------------------业务明细列表----------------------------------------\r
支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注\r
2026010122001400000000000001\t,T20260101000001\t,交易\t,宿舍 电费\t,2026-01-01 08:00:05\t,2026-01-01 08:00:09\t,\t,\t,\t,\t,x\t,18.50\t,18.50\t,0.00\t,0.00\t,0.00\t,0.00\t,0.00\t,\t,0.00\t,0.00\t,\t,-0.11\t,0.00\t,\t\r
2026010122001400000000000001\t,T20260101000001\t,退款\t,宿舍 电费\t,2026-01-01 08:00:05\t,2026-01-01 09:00:09\t,\t,\t,\t,\t,x\t,-8.50\t,-8.50\t,0.00\t,0.00\t,0.00\t,0.00\t,0.00\t,\t,0.00\t,0.00\t,R1\t,0.05\t,0.00\t,\t\r
#-----------------------------------------业务明细列表结束------------------------------------\r
#交易合计：1笔，商家实收共18.50元\r
#退款合计：1笔，商家实收退款共-8.50元\r
";

fn alipay(text: &str) -> Read {
    let bytes = encoding_rs::GBK.encode(text).0.into_owned();
    collect(|each| alipay::bill_file::read(&mut Cursor::new(zipped("2088_detail.csv", &bytes)), each))
}

#[test]
fn alipays_bill_is_read_whole_or_refused_with_its_line() {
    let lines = alipay(ALIPAY).unwrap();
    let short: Vec<_> =
        lines.iter().map(|l| (l.line, l.kind, l.amount.fen(), l.fee_fen, l.refund_no.as_deref())).collect();
    assert_eq!(short, [(5, BillKind::Payment, 1850, 11, None), (6, BillKind::Refund, 850, -5, Some("R1"))]);
    for (why, text, line) in [
        (
            "cut off",
            ALIPAY[..ALIPAY.find("#-----------------------------------------业务明细列表结束").unwrap()]
                .to_owned(),
            6,
        ),
        ("unknown column", ALIPAY.replace("终端号", "新列"), 4),
        ("unknown kind", ALIPAY.replace("退款\t,宿舍", "转账\t,宿舍"), 6),
        ("a line lost", ALIPAY.replace(ALIPAY.lines().nth(5).unwrap(), ""), 9),
        ("not a time", ALIPAY.replace("2026-01-01 09:00:09", "yesterday"), 6),
        ("no bill at all", "hello".to_owned(), 1),
    ] {
        assert_eq!(refused(&alipay(&text)).0, line, "{why}: {:?}", alipay(&text));
    }
    let utf8 = collect(|each| {
        alipay::bill_file::read(&mut Cursor::new(zipped("2088_detail.csv", ALIPAY.as_bytes())), each)
    });
    assert!(utf8.is_err(), "in the wrong encoding");
    let mut file = zipped("2088_detail.csv", &encoding_rs::GBK.encode(ALIPAY).0);
    file.truncate(file.len() / 2);
    assert_eq!(
        refused(&collect(|each| alipay::bill_file::read(&mut Cursor::new(&file), each))).0,
        0,
        "half a ZIP file"
    );
    let totals = zipped("2088_\u{6c47}\u{603b}.txt", b"x");
    assert!(
        collect(|each| alipay::bill_file::read(&mut Cursor::new(&totals), each)).is_err(),
        "no entry with transactions"
    );
}

/// A line of 607 bytes with these fields at their offsets.
fn union_line(kind: &str, number: &str, amount: &str) -> Vec<u8> {
    let mut row = vec![b' '; 607];
    let mut put = |at: usize, text: &str| row[at..at + text.len()].copy_from_slice(text.as_bytes());
    for (at, text) in [
        (0, "E74"),
        (35, "0101080009"),
        (66, amount),
        (87, "202601010800000000001"),
        (112, number),
        (166, "D000000000011"),
        (215, kind),
        (271, "202601010800000000001"),
        (293, "777290058110048"),
    ] {
        put(at, text);
    }
    row.extend(b"\r\n");
    row
}

fn union(bytes: &[u8]) -> Read {
    let now = Timestamp::from_secs(1_767_312_000);
    let file = zipped("INN26010188ZM_777290058110048", bytes);
    collect(|each| unionpay::bill_file::read(&mut Cursor::new(&file), "777290058110048", now, each))
}

#[test]
fn unionpays_file_is_read_by_bytes_or_refused_with_its_line() {
    let good = [
        union_line("01", "20260101080000001", "000000001850"),
        union_line("04", "REFUND000001", "000000000850"),
    ]
    .concat();
    let lines = union(&good).unwrap();
    let short: Vec<_> =
        lines.iter().map(|l| (l.line, l.kind, l.amount.fen(), l.fee_fen, l.refund_no.as_deref())).collect();
    assert_eq!(
        short,
        [(1, BillKind::Payment, 1850, 11, None), (2, BillKind::Refund, 850, 11, Some("REFUND000001"))]
    );
    let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        refused(&union(&bytes)).0
    };
    assert_eq!(spoilt(&|b| b.truncate(700)), 2, "cut off");
    assert_eq!(spoilt(&|b| b[609 + 215] = b'9'), 2, "unknown kind");
    assert_eq!(spoilt(&|b| b[609 + 66] = b'x'), 2, "not an amount");
    assert_eq!(spoilt(&|b| b[609 + 293] = b'8'), 2, "another merchant");
    assert_eq!(
        spoilt(&|b| {
            b.remove(609 + 40);
        }),
        2,
        "a byte lost shifts every field"
    );
    assert_eq!(spoilt(&|b| b[609 + 330] = 0xff), 2, "not GBK");
}

proptest! {
    #[test]
    fn whatever_bytes_arrive_there_is_an_answer_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..2000) {
        let _ = collect(|each| wechat::bill_file::read(&mut Cursor::new(&bytes), "1", each));
        let _ = collect(|each| campus_card::statement_file::read(&mut Cursor::new(&bytes), "M1001", "2026-01-01", each));
        let _ = collect(|each| alipay::bill_file::read(&mut Cursor::new(&bytes), each));
        let _ = union(&bytes);
        let mut half = WECHAT.as_bytes().to_vec();
        half.truncate(cut);
        prop_assert_eq!(collect(|each| wechat::bill_file::read(&mut Cursor::new(&half), "1900000001", each)).is_ok(), half.len() + 2 >= WECHAT.len());
    }
}
