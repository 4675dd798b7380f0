"""The sandbox's Alipay through `python-alipay-sdk`, unmodified: with keys, and with certificates."""

import io
import urllib.parse
import urllib.request
import uuid
import zipfile

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayException

from common import FOLDER, Ear, check, control, credentials, yesterday

mine = credentials("alipay")
ear = Ear(b"success")
folder = FOLDER / "alipay"


def flow(alipay, title):
    print(title)
    alipay._gateway = mine["base_url"]
    number = uuid.uuid4().hex
    made = alipay.api_alipay_trade_create(out_trade_no=number, total_amount="18.50", subject="牛肉面",
                                          buyer_id="2088000000000001")
    check("create", made["code"] == "10000", made)
    code = uuid.uuid4().hex
    shown = alipay.api_alipay_trade_precreate(out_trade_no=code, total_amount="18.50", subject="牛肉面")
    check("precreate", shown["qr_code"].startswith("https://qr.alipay.com/"), shown)
    absent = alipay.api_alipay_trade_query(out_trade_no=code)
    check("a code that nobody scanned is no trade", absent["sub_code"] == "ACQ.TRADE_NOT_EXIST", absent)
    control("/_sandbox/pay", {"channel": "alipay", "credential": made["trade_no"]})
    _, body = ear.next()
    event = dict(urllib.parse.parse_qsl(body.decode()))
    sign = event.pop("sign")
    event.pop("alipay_cert_sn", None)
    check("the notification is genuine", alipay.verify(event, sign) and event["trade_status"] == "TRADE_SUCCESS", body)
    paid = alipay.api_alipay_trade_query(out_trade_no=number)
    check("query", paid["trade_status"] == "TRADE_SUCCESS", paid)
    given = alipay.api_alipay_trade_refund(refund_amount="8.50", out_trade_no=number, out_request_no="R1")
    check("refund", given["fund_change"] == "Y", given)
    ear.next()
    asked = alipay.api_alipay_trade_fastpay_refund_query(out_request_no="R1", out_trade_no=number)
    check("refund query", asked["refund_status"] == "REFUND_SUCCESS", asked)
    other = alipay.api_alipay_trade_create(out_trade_no=uuid.uuid4().hex, total_amount="1.00", subject="汤",
                                           buyer_id="2088000000000001")
    closed = alipay.server_api("alipay.trade.close", biz_content={"trade_no": other["trade_no"]})
    check("close", closed["code"] == "10000", closed)
    cancelled = alipay.api_alipay_trade_cancel(out_trade_no=code)
    check("cancel", cancelled["code"] == "10000", cancelled)
    page = alipay.api_alipay_trade_wap_pay(out_trade_no=uuid.uuid4().hex, total_amount="3.00", subject="粥",
                                           return_url="http://127.0.0.1:9/back", product_code="QUICK_WAP_WAY")
    opened = urllib.request.urlopen(f"{mine['base_url']}?{page}").read().decode()
    check("wap.pay opens a cashier", "¥3.00" in opened, opened)
    control("/_sandbox/end_day")
    told = alipay.server_api("alipay.data.dataservice.bill.downloadurl.query",
                             biz_content={"bill_type": "trade", "bill_date": yesterday()})
    file = zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(told["bill_download_url"]).read()))
    name = next(n for n in file.namelist() if "汇总" not in n.encode("cp437").decode("gbk"))
    check("the bill has the order", number in file.read(name).decode("gbk"), name)


def content(path):
    return (folder / path).read_text()


flow(AliPay(appid=mine["app_id"], app_notify_url=ear.url, app_private_key_string=content("merchant_key.pem"),
            alipay_public_key_string=content("platform_public_key.pem")), "with keys")
flow(DCAliPay(appid=mine["app_id"], app_notify_url=ear.url, app_private_key_string=content("merchant_key.pem"),
              app_public_key_cert_string=content("app_cert.crt"),
              alipay_public_key_cert_string=content("alipay_cert.crt"),
              alipay_root_cert_string=content("alipay_root_cert.crt")), "with certificates")
