// `postern spend`: its options. The work is done in ../spend.ts.

import { readSetting } from '../../config/read.ts'
import { ledgerIn } from '../../gate/ledger.ts'
import { stderr, stdout } from '../../print.ts'
import { EXIT } from '../exit.ts'
import {
  correct,
  findSpender,
  readSpend,
  type SpendFlags,
  type Spending,
  spendingOf,
} from '../spend.ts'
import { spendingAccount, spendingJson, spendingTable } from '../spend-text.ts'
import { identitiesFrom } from './identities.ts'
import { failed, subcommand } from './subcommand.ts'
import { withDatabase } from './with-database.ts'

export const spend = subcommand<SpendFlags>({
  name: 'spend',
  synopsis: 'spend [NAME]',
  summary: 'what was spent of each cap, and corrections of it',
  description:
    'What devices and organisations have spent of a month, as their caps count it, and corrections ' +
    'of it, which a running gate knows within a second.',
  define(command) {
    command
      .argument('[name]', "a device's id, label or hash, key:NAME, or org:ID")
      .option('--credit <usd>', 'Give back so many US dollars.')
      .option('--debit <usd>', 'Take so many, as for a credit by mistake.')
      .option('--reason <text>', 'Why; kept with it.')
      .option('--month <month>', 'In the place of this month: 2026-10.')
      .option('--json', 'One JSON document; money in micro-dollars.')
      .allowExcessArguments(false)
  },
  readsSettings: true,
  run({ flags, words }, env) {
    const nowMs = Date.now()
    const read = readSpend(words, flags, nowMs)
    if (!read.ok) return failed(`${read.message}\n    ${read.hint}`, EXIT.usage, 'spend')
    const by = identitiesFrom(env)
    if (!by.ok) return failed(by.message, EXIT.config)
    const orgCap = readSetting('orgSpendCap', env)
    if (!orgCap.ok) return failed(`ORG_SPEND_CAP ${orgCap.message}: ${orgCap.hint}`, EXIT.config)
    const { name, month, json, correction } = read.value
    return withDatabase(env, correction ? 'existing' : 'read', async (database) => {
      const books = {
        ledger: ledgerIn(database),
        database,
        identities: by,
        orgSpendCapUsd: orgCap.value,
      }
      if (name === undefined) {
        const all = await spendingOf(books, month)
        stdout.write(json ? spendingJson(all, month) : spendingTable(all, month))
        return 0
      }
      const found = await findSpender(books, name)
      if (!found.ok) return failed(`${found.message}\n    ${found.hint}`, EXIT.failed, 'spend')
      const done = await correct(books, found.spender, read.value, nowMs)
      if (!done.ok) return failed(`${done.message}\n    ${done.hint}`, EXIT.failed, 'spend')
      const one = await spendingOf(books, month, found.spender)
      stdout.write(
        json ? spendingJson(one, month) : one.map((each) => spendingAccount(each, month)).join(''),
      )
      const [{ orgId }] = one as [Spending]
      if (correction && orgId !== undefined) {
        stderr.write(
          `what its organisation spent is as it was: postern spend org:${orgId} corrects that\n`,
        )
      }
      return 0
    })
  },
})
