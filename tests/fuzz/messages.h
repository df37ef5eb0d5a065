#ifndef SOLO_TESTS_FUZZ_MESSAGES_H
#define SOLO_TESTS_FUZZ_MESSAGES_H

/* What a server has sent to the other end of its connection: whole messages, which the scanner
 * accepts. */
void messages_expect(int fd);

#endif
