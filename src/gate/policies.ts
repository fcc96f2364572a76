// The policies of a gate, and the rules that assign them. The flat settings define one for each kind of
// caller.

import type { Settings } from '../config/read.ts'
import type { Configuration } from './reload-change.ts'
import { type Prepare, remade } from './remade.ts'
import { devicePolicies, type DeviceEntitlements } from '../policy/device.ts'
import { defaultPolicies, microUsd } from '../policy/from-settings.ts'
import type { LimitsEntry, PolicyEntry } from '../config/policies.ts'
import { type Limits, type Policy, policy, type Rate } from '../policy/policy.ts'
import { type PolicyOf, policySelector, type PolicyTable } from '../policy/select.ts'

export interface Policies {
  readonly policyOf: PolicyOf
  readonly ofDevice: (own: DeviceEntitlements) => Policy | undefined
  /** A policy of the document or of the flat settings. */
  readonly called: (name: string) => Policy | undefined
}

/** The settings from which policies are created. */
export type PolicySources = Pick<
  Settings,
  'policies' | 'rateLimitRpm' | 'rateLimitBurst' | 'maxIdentityConcurrency' | 'orgSpendCap'
> & { readonly requireStreamUsage?: boolean }

export interface ExchangeablePolicies extends Policies {
  /** Decisions by the previous policies no longer count. */
  readonly prepare: Prepare
}

export function exchangeablePolicies(first: Configuration): ExchangeablePolicies {
  const { now, prepare } = remade(first, ({ settings }) => policies(settings))
  return {
    policyOf: (caller) => now().policyOf(caller),
    ofDevice: (own) => now().ofDevice(own),
    called: (name) => now().called(name),
    prepare,
  }
}

/** Named policies and their rules take precedence over the flat settings. */
export function policies(settings: PolicySources): Policies {
  const defaults = defaultPolicies(settings)
  const table = said(settings)
  const policyOf = policySelector({ ...table, defaults })
  const flat = [defaults.user, defaults.device, defaults.key, defaults.session]
  return {
    policyOf,
    ofDevice: devicePolicies(policyOf, defaults),
    called: (name) => table.named.get(name) ?? flat.find((each) => each.name === name),
  }
}

function said(settings: PolicySources): Pick<PolicyTable, 'named' | 'rules'> {
  const { policies: entries, rules } = settings.policies
  const { person, organisation, streamUsage } = defaultPolicies(settings).user
  const { rateLimitBurst } = settings
  const made = (entry: PolicyEntry): Policy => {
    const { requestsPerMinute, burst, concurrency, usdPerDay, usdPerMonth, ...asItStands } = entry
    const own = { requestsPerMinute, burst, concurrency, usdPerDay, usdPerMonth }
    return policy({
      streamUsage,
      ...asItStands,
      person: limitsOf(own, person, rateLimitBurst),
      organisation: limitsOf(entry.organisation ?? {}, organisation, rateLimitBurst),
    })
  }
  const named = new Map(entries.map((entry) => [entry.name, made(entry)]))
  return {
    named,
    rules: rules.flatMap(({ policy: name, ...fits }) => {
      const given = named.get(name)
      // The settings are valid only if each rule's policy exists.
      if (!given) throw new Error('a rule gives a policy that is not there')
      return [{ ...fits, policy: given }]
    }),
  }
}

/** Limits that an entry leaves out come from the gate's settings. */
function limitsOf(entry: LimitsEntry, otherwise: Limits, usualBurst: number): Limits {
  return Object.freeze({
    rate: rateOf(entry, otherwise.rate, usualBurst),
    concurrency: entry.concurrency ?? otherwise.concurrency,
    spendPerDay: microUsd(entry.usdPerDay) ?? otherwise.spendPerDay,
    spendPerMonth: microUsd(entry.usdPerMonth) ?? otherwise.spendPerMonth,
  })
}

function rateOf(
  { requestsPerMinute: perMinute, burst }: LimitsEntry,
  otherwise: Rate | undefined,
  usualBurst: number,
): Rate | undefined {
  if (perMinute === undefined) return otherwise
  return perMinute === 0 ? undefined : { perMinute, burst: burst ?? usualBurst }
}
