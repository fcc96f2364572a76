// The paths of the sign-in, for its routes, and for the links and forms of its pages.

export const LOGIN_PATHS = {
  page: '/auth/device',
  start: '/auth/device/start',
  open: '/auth/device/open',
  submit: '/auth/device/submit',
  callback: '/auth/callback',
  status: '/auth/status',
  refresh: '/auth/refresh',
  logout: '/auth/logout',
  style: '/auth/assets/login.css',
  script: '/auth/assets/login.js',
  icon: '/auth/assets/login.svg',
} as const
