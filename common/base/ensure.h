#ifndef SOLO_COMMON_BASE_ENSURE_H
#define SOLO_COMMON_BASE_ENSURE_H

/* For what only a bug of ours can break: logs and aborts, in release builds too. One condition
 * each. */
#define ensure(condition) ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__))

_Noreturn void ensure_failed(const char *condition, const char *file, int line);

#endif
