// Who asks under /admin/: the operator, whose key is compared in constant time, or a device. Cookies are
// not used, so no page can misuse one.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { Admitted } from '../../admit/admitted.ts'
import { deviceToken } from '../../admit/device.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import type { Secret } from '../../secret.ts'
import type { Arrival } from '../arrival.ts'
import { sentCredentials } from '../bearer.ts'
import type { AdminParts } from './parts.ts'

export type AdminCaller =
  { readonly operator: true } | { readonly operator: false; readonly device: Admitted }

export function adminCallers({
  adminToken,
  admitDevice,
}: Pick<AdminParts, 'adminToken' | 'admitDevice'>) {
  const isOperator = operatorCheck(adminToken)
  return async (
    arrival: Arrival,
    request: Request,
    bearer: string | undefined,
  ): Promise<Decision<AdminCaller>> => {
    const sent = sentCredentials(arrival, request, bearer)
    const token = deviceToken(sent)
    if (!token.ok) return token
    if (isOperator(token.value)) return granted({ operator: true })
    if (!admitDevice) return refused('invalid_token', { reason: 'is not the operator' })
    const device = await admitDevice(sent, arrival.exchange.at)
    if (!device.ok) return device
    arrival.exchange.identity = device.value.identity
    return granted({ operator: false, device: device.value })
  }
}

/** Compares hashes of equal length, so the time shows neither length nor prefix. */
function operatorCheck(secret: () => Secret | undefined): (token: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  let of: Secret | undefined
  let expected: Buffer | undefined
  return (token) => {
    const now = secret()
    if (now !== of) [of, expected] = [now, now && digest(now.reveal())]
    return expected !== undefined && timingSafeEqual(digest(token), expected)
  }
}
