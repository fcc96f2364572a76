// What the routes of signing in are put together from.

import type { Login } from '../../login/login.ts'
import type { Answers } from '../answers.ts'
import type { CountAddress } from '../count-address.ts'
import type { LoginCookies } from './cookies.ts'

export interface LoginParts {
  readonly answers: Answers
  readonly login: Login
  readonly cookies: LoginCookies
  readonly countAddress: CountAddress
  /** What programs are told to use: PROXY_BASE_URL, or else where this gate listens. */
  readonly publicUrl: () => URL
  /** REDIRECT_URI: where it leads back here, a sign-in has to begin on the same host. */
  readonly redirectUri: URL
  readonly bodyTimeoutMs: () => number
}
