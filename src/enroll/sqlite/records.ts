// Devices, codes and the audit trail in the SQLite file, for one command.

import type { Database } from 'bun:sqlite'
import { audit, listAudit } from '../audit.ts'
import { listCodes, makeCode } from '../codes.ts'
import { devicesNamed, devicesOfHashes, isOrgNamed, policiesOfOrgDevices } from '../device-names.ts'
import { familiesCalled, listFamilies, policiesOfDevices, usersOfDevices } from '../family-list.ts'
import { finishRevoking } from '../finish.ts'
import type { AuditRecords, DeviceRecords } from '../records.ts'
import { beginRevoking } from '../withdraw.ts'

export function sqliteDevices(database: Database): DeviceRecords {
  return {
    makeCode: async (terms, { at, actor }) =>
      database
        .transaction(() => {
          const made = makeCode(database, terms, at)
          audit(database, { at, actor, action: 'enrol', subject: made.name })
          return made
        })
        .immediate(),
    codes: async (nowSeconds) => listCodes(database, nowSeconds),
    families: async (filter) => listFamilies(database, filter),
    familiesCalled: async (name, limit) => familiesCalled(database, name, limit),
    async revoke(name, by) {
      const { left, ...begun } = beginRevoking(database, name, by)
      const { families, error } = await finishRevoking(left, (work) =>
        work(database, Date.now() / 1000),
      )
      const done = { ...begun, families: [...begun.families, ...families] }
      return error === undefined ? done : { ...done, unfinished: true }
    },
    users: async () => usersOfDevices(database),
    policies: async (nowSeconds) => policiesOfDevices(database, nowSeconds),
    named: async (name, by) => devicesNamed(database, name, by),
    ofHashes: async (hashes) => devicesOfHashes(database, hashes),
    knowsOrg: async (org) => isOrgNamed(database, org),
    policiesOfOrg: async (org, nowSeconds) => policiesOfOrgDevices(database, org, nowSeconds),
  }
}

export const sqliteAudit = (database: Database): AuditRecords => ({
  entries: async (page) => listAudit(database, page),
})
