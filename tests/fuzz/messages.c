/* Of more than the buffer holds only the beginning is read. */
#include "tests/fuzz/messages.h"

#include <sys/socket.h>

#include "common/base/ensure.h"
#include "common/base/limits.h"
#include "common/wire/frame_scanner.h"

void messages_expect(int fd)
{
    static uint8_t bytes[1 << 20];
    size_t size = 0;
    for (ssize_t got; size < sizeof bytes; size += (size_t)got) {
        got = recv(fd, bytes + size, sizeof bytes - size, MSG_DONTWAIT);
        if (got <= 0)
            break;
    }
    struct span rest = span_of(bytes, size);
    while (rest.size > 0 && size < sizeof bytes) {
        struct frame_scanner scanner = { 0 };
        bool is_complete;
        const char *rule;
        ensure(frame_scan(&scanner, rest, FRAME_BYTES_MAX, &is_complete, &rule) == STATUS_OK);
        ensure(is_complete);
        rest = span_of(rest.data + scanner.position, rest.size - scanner.position);
    }
}
