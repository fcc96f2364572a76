// `postern spend`: its options. The work is done in ../spend.ts.

import type { ProcessEnvironment } from '../../config/given.ts'
import type { PolicyEntries } from '../../config/policies.ts'
import { secureUrl } from '../../config/address-kinds.ts'
import { readSetting } from '../../config/read.ts'
import { type Key, settingOf, type Values } from '../../config/table.ts'
import { policies as policiesOf } from '../../gate/policies.ts'
import { asking } from '../../http1/ask.ts'
import { transport } from '../../http1/transport.ts'
import { stderr, stdout } from '../../print.ts'
import type { Secret } from '../../secret.ts'
import { EXIT } from '../exit.ts'
import { askReservations } from '../reservations.ts'
import { findSpender } from '../find-spender.ts'
import { correct, type Spending, spendingOf } from '../spend.ts'
import { readSpend, type SpendFlags } from '../spend-arguments.ts'
import type { Reservations } from '../spend-caps.ts'
import { spendingAccount, spendingJson, spendingTable } from '../spend-text.ts'
import { identitiesFrom } from './identities.ts'
import { failed, subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

const SETTINGS = [
  'orgSpendCap',
  'rateLimitRpm',
  'rateLimitBurst',
  'maxIdentityConcurrency',
  'adminToken',
] as const satisfies readonly Key[]

type SpendSettings = Pick<Values, (typeof SETTINGS)[number]>

/** Undefined if one of them has a mistake, which is reported here. */
function settingsOf(env: ProcessEnvironment): SpendSettings | undefined {
  const values: Record<string, unknown> = {}
  for (const key of SETTINGS) {
    const read = readSetting(key, env)
    if (!read.ok) {
      failed(`${settingOf(key).env} ${read.message}: ${read.hint}`, EXIT.config)
      return undefined
    }
    values[key] = read.value
  }
  return values as SpendSettings
}

const NO_DOCUMENT: PolicyEntries = { policies: [], rules: [] }

type Asked =
  | { readonly ok: true; readonly reserved: Reservations | undefined }
  | { readonly ok: false; readonly code: number }

/** Only for a gate that is named: nobody else must see the operator's key. */
async function reservationsOf(
  gate: string | undefined,
  adminToken: Secret | undefined,
): Promise<Asked> {
  if (gate === undefined) return { ok: true, reserved: undefined }
  const url = secureUrl.read(gate)
  const wrong = (message: string, hint: string, code: number): Asked => ({
    ok: false,
    code: failed(`${message}\n    ${hint}`, code, 'spend'),
  })
  if (!url.ok) return wrong(`--gate ${url.message}`, url.hint, EXIT.usage)
  if (!adminToken) return wrong('--gate needs ADMIN_TOKEN', "set the operator's key", EXIT.usage)
  const wire = transport()
  try {
    const ask = asking(wire, { connectMs: ASK_MS, headersMs: ASK_MS, bodyMs: ASK_MS })
    const reserved = await askReservations(ask, url.value, adminToken.reveal())
    if (reserved) return { ok: true, reserved }
    const hint = `is it at ${url.value.host}, and is ADMIN_TOKEN the one that it has?`
    return wrong('the gate does not say what requests under way hold', hint, EXIT.failed)
  } finally {
    wire.close()
  }
}

const ASK_MS = 2000

export const spend = subcommand<SpendFlags>({
  name: 'spend',
  synopsis: 'spend [NAME]',
  summary: 'what was spent of each cap, and corrections of it',
  description:
    'What callers and organisations have spent, and how each of their caps stands: of the month and ' +
    'of today, by which policy. With --credit or --debit a correction, which a running gate knows ' +
    'within a second.',
  define(command) {
    command
      .argument('[name]', "a device's id, label or hash, a user's hash, key:NAME, org:ID")
      .option('--credit <usd>', 'Give back so many US dollars.')
      .option('--debit <usd>', 'Take so many, as for a credit by mistake.')
      .option('--reason <text>', 'Why; kept with it.')
      .option('--month <month>', 'In the place of this month: 2026-10.')
      .option('--day <day>', 'Of a correction: of this day, and of its month: 2026-10-20.')
      .option('--gate <url>', 'Ask this gate, with ADMIN_TOKEN, what requests under way hold.')
      .option('--json', 'One JSON document; money in micro-dollars.')
      .allowExcessArguments(false)
  },
  readsSettings: true,
  async run({ flags, words }, env, document) {
    const nowMs = Date.now()
    const read = readSpend(words, flags, nowMs)
    if (!read.ok) return failed(`${read.message}\n    ${read.hint}`, EXIT.usage, 'spend')
    const by = identitiesFrom(env)
    if (!by.ok) return failed(by.message, EXIT.config)
    const settings = settingsOf(env)
    if (!settings) return EXIT.config
    const { rateLimitRpm = 0, rateLimitBurst = 1, maxIdentityConcurrency = 1 } = settings
    const { orgSpendCap } = settings
    const { name, month, json, correction } = read.value
    const limits = {
      rateLimitRpm,
      rateLimitBurst,
      maxIdentityConcurrency,
      ...(orgSpendCap !== undefined && { orgSpendCap }),
    }
    const policies = policiesOf({ ...limits, policies: document ?? NO_DOCUMENT })
    const asked = await reservationsOf(flags.gate, settings.adminToken)
    if (!asked.ok) return asked.code
    return withRecords(env, correction ? 'existing' : 'read', async (records) => {
      const books = {
        records,
        policies,
        hasDocument: document !== undefined,
        reserved: asked.reserved,
      }
      if (name === undefined) {
        const all = await spendingOf(books, month, nowMs)
        stdout.write(json ? spendingJson(all, month) : spendingTable(all, month))
        return 0
      }
      const found = await findSpender(records, by, name)
      if (!found.ok) return failed(`${found.message}\n    ${found.hint}`, EXIT.failed, 'spend')
      const done = await correct(records.ledger, found.spender, read.value, nowMs)
      if (!done.ok) return failed(`${done.message}\n    ${done.hint}`, EXIT.failed, 'spend')
      const one = await spendingOf(books, month, nowMs, found.spender)
      stdout.write(
        json ? spendingJson(one, month) : one.map((each) => spendingAccount(each, month)).join(''),
      )
      const [{ orgId, caps }] = one as [Spending]
      if (correction && orgId !== undefined) {
        stderr.write(
          `what its organisation spent is as it was: postern spend org:${orgId} corrects that\n`,
        )
      }
      if (
        correction &&
        correction.written === month &&
        caps.some(({ period }) => period === 'day')
      ) {
        stderr.write("a day's cap is as it was: --day corrects a day, and its month with it\n")
      }
      return 0
    })
  },
})
