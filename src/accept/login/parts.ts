// What the routes under /auth/ need.

import type { Login } from '../../login/login.ts'
import type { Answers } from '../answers.ts'
import type { CountAddress } from '../count-address.ts'
import type { LoginCookies } from './cookies.ts'

export interface LoginParts {
  readonly answers: Answers
  readonly login: Login
  readonly cookies: LoginCookies
  readonly countAddress: CountAddress
  /** The URL that programs should use: PROXY_BASE_URL, or where this gate listens. */
  readonly publicUrl: () => URL
  /** REDIRECT_URI. If it leads back here, a sign-in must begin on its host. */
  readonly redirectUri: URL
  readonly bodyTimeoutMs: () => number
}
