// Maps each kind of credential to its admission. A kind that is missing here is a compile error.

import type { Admissions } from '../accept/door.ts'
import type { UserAdmission } from '../admit/admit.ts'
import { bearerToken } from '../admit/bearer.ts'
import type { AdmitDevice } from '../admit/device.ts'
import type { AdmitKey } from '../admit/key.ts'
import type { AdmitSession } from '../admit/session.ts'
import { refused } from '../refusal.ts'
import { ownToken } from '../token/bare.ts'

export interface AdmissionParts {
  readonly admitUser: UserAdmission['admit'] | undefined
  readonly admitDevice: AdmitDevice | undefined
  readonly admitKey: AdmitKey
  readonly admitSession: AdmitSession | undefined
}

export function admissions(parts: AdmissionParts): Admissions {
  const { admitUser, admitDevice, admitKey, admitSession } = parts
  return {
    user:
      admitUser &&
      ((authorization, { exchange, target }) =>
        admitUser({ authorization, query: target.search.slice(1) }, exchange.at)),
    device:
      admitDevice &&
      ((authorization, { exchange, target }) =>
        admitDevice({ authorization, apiKey: null, query: target.search.slice(1) }, exchange.at)),
    key(authorization, { exchange, target }) {
      const token = bearerToken(authorization, target.search.slice(1))
      if (!token.ok) return token
      const key = ownToken(token.value)
      return key === undefined ? refused('invalid_token') : admitKey(key, exchange.at)
    },
    session:
      admitSession &&
      ((_authorization, { target }, request) =>
        admitSession(request.headers, target.search.slice(1), request.method)),
  }
}
