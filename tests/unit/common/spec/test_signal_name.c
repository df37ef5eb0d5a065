#include "tests/support/criterion.h"

#include <signal.h>

#include "common/spec/signal_name.h"

Test(signal_name, names_are_read_with_and_without_sig)
{
    cr_assert_eq(signal_parse("TERM"), SIGTERM);
    cr_assert_eq(signal_parse("SIGTERM"), SIGTERM);
    cr_assert_eq(signal_parse("SIGUSR2"), SIGUSR2);
}

Test(signal_name, other_words_are_no_signal)
{
    cr_assert_eq(signal_parse(""), 0);
    cr_assert_eq(signal_parse("SIG"), 0);
    cr_assert_eq(signal_parse("term"), 0);
    cr_assert_eq(signal_parse("SIGSIGTERM"), 0);
    cr_assert_eq(signal_parse("15"), 0);
}

Test(signal_name, every_name_is_read_back)
{
    for (int number = 1; number < 32; number++)
        if (signal_parse(signal_text(number)) != 0)
            cr_assert_eq(signal_parse(signal_text(number)), number);
    cr_assert_str_eq(signal_text(SIGKILL), "KILL");
    cr_assert_str_eq(signal_text(99), "99");
}
