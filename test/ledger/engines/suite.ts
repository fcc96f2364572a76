// What every engine of the ledger owes, told through its ports and asked through them. A new engine is
// run through it by one line in engines.test.ts.

import { describe } from 'bun:test'
import { correcting } from './correcting.ts'
import { naming } from './naming.ts'
import { paging } from './paging.ts'
import { spending } from './spending.ts'
import { summing } from './summing.ts'
import type { TestedEngine } from './tested.ts'
import { writing } from './writing.ts'

export function ledgerSuite(engine: TestedEngine): void {
  describe(`a ledger in ${engine.name}`, () => {
    describe('writes', () => writing(engine))
    describe('sums', () => summing(engine))
    describe('the last requests', () => paging(engine))
    describe('spending', () => spending(engine))
    describe('former names', () => naming(engine))
    describe('corrections', () => correcting(engine))
  })
}
