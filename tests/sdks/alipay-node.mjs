// The sandbox's Alipay through `alipay-sdk`, unmodified: with keys, and with certificates.
import { randomUUID } from 'node:crypto';
import { AlipaySdk } from 'alipay-sdk';
import { check, control, credentials, ear, file, folder, yesterday } from './common.mjs';

const mine = credentials('alipay');
const listener = await ear('success');
const number = () => randomUUID().replaceAll('-', '');
const common = { appId: mine.app_id, gateway: mine.base_url, privateKey: file(mine.merchant_key), keyType: 'PKCS8' };

async function flow(sdk, title) {
  console.log(title);
  const call = (method, bizContent, more = {}) => sdk.exec(method, { bizContent, ...more }, { validateSign: true });
  const order = number();
  const basket = { outTradeNo: order, totalAmount: '18.50', subject: '牛肉面' };
  const made = await call('alipay.trade.create', { ...basket, buyerId: '2088000000000001' }, { notifyUrl: listener.url });
  check('create', made.code === '10000' && made.tradeNo, made);
  const shown = await call('alipay.trade.precreate', { ...basket, outTradeNo: number() });
  check('precreate', shown.qrCode.startsWith('https://qr.alipay.com/'), shown);
  await control('/_sandbox/pay', { channel: 'alipay', credential: made.tradeNo });
  const event = Object.fromEntries(new URLSearchParams((await listener.next()).body));
  check('the notification is genuine', sdk.checkNotifySign(event) && event.trade_status === 'TRADE_SUCCESS', event);
  check('an altered one is not', !sdk.checkNotifySign({ ...event, total_amount: '0.01' }));
  const paid = await call('alipay.trade.query', { outTradeNo: order });
  check('query', paid.tradeStatus === 'TRADE_SUCCESS', paid);
  const given = await call('alipay.trade.refund', { outTradeNo: order, refundAmount: '8.50', outRequestNo: 'R1' });
  check('refund', given.fundChange === 'Y', given);
  await listener.next();
  const asked = await call('alipay.trade.fastpay.refund.query', { outTradeNo: order, outRequestNo: 'R1' });
  check('refund query', asked.refundStatus === 'REFUND_SUCCESS', asked);
  const other = await call('alipay.trade.create', { ...basket, outTradeNo: number(), buyerId: '2088000000000001' });
  const closed = await call('alipay.trade.close', { tradeNo: other.tradeNo });
  check('close', closed.code === '10000', closed);
  const wap = { ...basket, outTradeNo: number(), productCode: 'QUICK_WAP_WAY' };
  const page = await fetch(sdk.pageExecute('alipay.trade.wap.pay', 'GET', { bizContent: wap, returnUrl: 'http://127.0.0.1:9/' }));
  check('wap.pay opens a cashier', (await page.text()).includes('¥18.50'));
  await control('/_sandbox/end_day');
  const told = await call('alipay.data.dataservice.bill.downloadurl.query', { billType: 'trade', billDate: yesterday() });
  const bill = Buffer.from(await (await fetch(told.billDownloadUrl)).arrayBuffer());
  check('the bill has the order', bill.includes(order), told);
}

await flow(new AlipaySdk({ ...common, alipayPublicKey: file(mine.public_key) }), 'with keys');
await flow(new AlipaySdk({
  ...common,
  appCertPath: `${folder}/alipay/app_cert.crt`,
  alipayPublicCertPath: `${folder}/alipay/alipay_cert.crt`,
  alipayRootCertPath: `${folder}/alipay/alipay_root_cert.crt`,
}), 'with certificates');
listener.close();
process.exit(0);
