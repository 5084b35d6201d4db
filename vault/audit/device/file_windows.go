package device

const nonblock = 0
