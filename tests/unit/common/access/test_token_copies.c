/* Which store is believed: older copies, and what lies in the place of the voucher. */
#include "tests/unit/common/access/map_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(token_copies, .init = map_fixture_open, .fini = map_fixture_close, .timeout = 60);

Test(token_copies, what_tokend_does_not_vouch_for_is_unavailable)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    cr_assert_not(start_tokend());
    grant(text, "acme", 1, 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    store_voucher_withdraw(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "at once");
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
}

/* After that who has mapped a page has looked whether it is still the one in RUN. */
static void await_look(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = VOUCHER_LOOK_MS * 1000000L }, NULL);
}

/* What it says is the same for ever. */
Test(token_copies, a_page_that_was_removed_is_not_believed)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    store_voucher_keep(&voucher);
    cr_assert_eq(unlink(voucher.path), 0);
    await_look();
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    store_voucher_keep(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    cr_assert_eq(unlink(voucher.path), 0);
    cr_assert_not(start_tokend(), "nobody knows which store was left");
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    store_voucher_withdraw(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "it has the new page");
    cr_assert_eq(unlink(voucher.path), 0);
    store_voucher_keep(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "another page says the same");
}

/* tokend started when its page was gone: it does not know who believes that one. */
Test(token_copies, nothing_is_answered_while_a_page_that_is_gone_may_be_believed)
{
    char boot_id[BOOT_ID_BYTES], path[4096];
    struct store_voucher_page page;
    struct voucher_view view;
    make_store();
    snprintf(boot_id, sizeof boot_id, "%s", voucher.boot_id);
    snprintf(path, sizeof path, "%s", voucher.path);
    cr_assert_eq(voucher_view_open(&view, run_dir, TOKENS_VOUCHER, boot_id), STATUS_OK);
    for (int is_moved = 0; is_moved < 2; is_moved++) {
        cr_assert_eq(voucher_view_look(&view, clock_boottime_ns(), &page), STATUS_OK);
        store_voucher_close(&voucher);
        cr_assert_eq(is_moved ? rename(path, scratch_path("page")) : unlink(path), 0);
        store_voucher_make(&voucher, run_dir, TOKENS_VOUCHER, boot_id);
        store_voucher_settle(&voucher);
        cr_expect_neq(voucher_view_look(&view, clock_boottime_ns(), &page), STATUS_OK, "moved %d",
                      is_moved);
        store_voucher_give(&voucher, &writer);
    }
    store_voucher_close(&voucher);
    store_voucher_make(&voucher, run_dir, TOKENS_VOUCHER, boot_id);
    cr_expect_eq(voucher.left_ns, 0, "it goes on with the same page: nobody has to wait");
    voucher_view_close(&view);
}

/* tokend is there, and has not seen yet that its page is gone; the next commits show all the same,
 * and when it makes another page, the one that is gone says so. */
Test(token_copies, a_page_that_is_gone_is_withdrawn_when_another_one_is_made)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    struct store_voucher_page page;
    struct voucher_view view;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(voucher_view_open(&view, run_dir, TOKENS_VOUCHER, voucher.boot_id), STATUS_OK);
    cr_assert_eq(voucher_view_look(&view, 1, &page), STATUS_OK);
    cr_assert_eq(unlink(voucher.path), 0);
    take_back(text);
    cr_assert_eq(voucher_view_look(&view, 1, &page), STATUS_OK, "no time has passed for it");
    cr_expect_eq(page.txn, db_last_txn(&writer));
    uint64_t mapped = view.mapped;
    store_voucher_keep(&voucher);
    cr_assert_eq(voucher_view_look(&view, 1, &page), STATUS_OK);
    cr_expect_gt(view.mapped, mapped, "it reads the new one");
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED);
    voucher_view_close(&view);
}

Test(token_copies, a_restart_of_tokend_goes_on_with_its_store)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    db_close(&writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK, "nobody writes");
    cr_expect(start_tokend(), "it is the same");
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    take_back(text);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED);
}

Test(token_copies, an_older_copy_is_not_believed_before_tokend_vouches_for_it)
{
    char revoked[TOKEN_TEXT_BYTES], kept[TOKEN_TEXT_BYTES], copy[4096], aside[4096];
    struct caller caller;
    snprintf(copy, sizeof copy, "%s", scratch_path("copy"));
    snprintf(aside, sizeof aside, "%s", scratch_path("aside"));
    make_store();
    grant(revoked, "acme", 1, 0);
    grant(kept, "beta", 1, 0);
    copy_store(dir, copy);
    take_back(revoked);
    cr_assert_eq(verify(kept, &caller), STATUS_OK);
    cr_assert_eq(rename(dir, aside), 0);
    copy_store(copy, dir);
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED, "it has the other one open");
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
    cr_expect_eq(verify_anew(kept), STATUS_UNAVAILABLE);
    cr_expect_not(start_tokend());
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAVAILABLE);
    cr_expect_eq(verify(kept, &caller), STATUS_UNAVAILABLE);
    take_back(revoked); /* by the word of the log */
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED);
    cr_expect_eq(verify(kept, &caller), STATUS_OK);
    cr_expect_str_eq(caller.tenant, "beta");
}

Test(token_copies, an_older_copy_that_is_written_into_the_same_file_is_not_believed)
{
    static const char *const files[] = { "data.mdb", "lock.mdb" };
    char revoked[TOKEN_TEXT_BYTES], copy[4096];
    struct caller caller;
    for (size_t count = 1; count <= COUNT_OF(files); count++) {
        snprintf(copy, sizeof copy, "%s", scratch_path(files[count - 1]));
        db_close(&writer);
        make_store();
        grant(revoked, "acme", 1, 0);
        copy_store(dir, copy);
        take_back(revoked);
        cr_assert_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED);
        for (size_t i = 0; i < count; i++)
            copy_file(copy, dir, files[i]);
        cr_expect_eq(verify(revoked, &caller), STATUS_UNAVAILABLE, "%zu of its files", count);
        cr_expect_not(start_tokend());
        cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
        token_map_close(&map);
        db_close(&writer);
        cr_assert_eq(directory_remove(dir), STATUS_OK);
        open_map(&map);
    }
}

/* The file stays the same, and the copy from the other branch has a higher number. */
Test(token_copies, two_copies_that_went_on_apart_are_told_from_each_other)
{
    char revoked[TOKEN_TEXT_BYTES], other[TOKEN_TEXT_BYTES], old[4096], today[4096];
    struct caller caller;
    snprintf(old, sizeof old, "%s", scratch_path("old"));
    snprintf(today, sizeof today, "%s", scratch_path("today"));
    make_store();
    grant(revoked, "acme", 1, 0);
    db_close(&writer);
    copy_store(dir, old);
    cr_assert(start_tokend());
    for (int i = 0; i < 8; i++)
        grant(other, "acme", 1, 0);
    db_close(&writer);
    copy_store(dir, today);
    copy_store(old, dir);
    cr_expect_not(start_tokend());
    store_voucher_give(&voucher, &writer);
    take_back(revoked);
    cr_assert_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED);
    token_map_close(&map); /* for it the file would only have lost its readers */
    db_close(&writer);
    copy_store(today, dir);
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE, "nobody has looked at it");
    cr_expect_not(start_tokend());
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
    open_map(&map);
}

/* --- what lies in the place of the page --- */

static char *page_path(void)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", run_dir, TOKENS_VOUCHER);
    return path;
}

static void block_page(void)
{
    char inner[4300];
    snprintf(inner, sizeof inner, "%s/inner", page_path());
    cr_assert_eq(directory_make(inner, 0755), STATUS_OK);
}

Test(token_copies, starts_that_cannot_reach_the_page_lift_no_older_copy_up_to_it)
{
    char revoked[TOKEN_TEXT_BYTES], copy[4096], aside[4096];
    snprintf(copy, sizeof copy, "%s", scratch_path("copy"));
    snprintf(aside, sizeof aside, "%s", scratch_path("page"));
    make_store();
    grant(revoked, "acme", 1, 0);
    copy_store(dir, copy);
    take_back(revoked);
    db_close(&writer);
    copy_store(copy, dir);
    cr_assert_eq(rename(page_path(), aside), 0);
    block_page();
    for (int i = 0; i < 3; i++)
        cr_expect_not(start_tokend());
    cr_expect_geq(db_last_txn(&writer), voucher.page.txn);
    db_close(&writer);
    cr_assert_eq(directory_remove(page_path()), STATUS_OK);
    cr_assert_eq(rename(aside, page_path()), 0);
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
    cr_expect_not(start_tokend());
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
}

Test(token_copies, a_page_that_is_cut_off_is_made_again)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    cr_assert_eq(truncate(page_path(), 0), 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    cr_expect_eq(verify_anew(text), STATUS_UNAVAILABLE);
    store_voucher_keep(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_OK);

    cr_assert_eq(truncate(page_path(), 0), 0);
    take_back(text);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "a commit writes it, too");
    cr_expect(store_voucher_is_written(&voucher));
}

/* It is mapped, and nothing has told this view yet. */
Test(token_copies, a_page_that_is_cut_off_while_it_is_looked_at_ends_nobody)
{
    struct store_voucher_page page;
    struct voucher_view view;
    make_store();
    cr_assert_eq(voucher_view_open(&view, run_dir, TOKENS_VOUCHER, voucher.boot_id), STATUS_OK);
    cr_assert_eq(voucher_view_look(&view, 1, &page), STATUS_OK);
    cr_assert_eq(truncate(page_path(), 0), 0);
    cr_expect_eq(voucher_view_look(&view, 1, &page), STATUS_UNAVAILABLE);
    store_voucher_keep(&voucher);
    cr_expect_eq(voucher_view_look(&view, 1, &page), STATUS_OK);
    voucher_view_close(&view);
}

static void put_link(void)
{
    cr_assert_eq(symlink(scratch_path("elsewhere"), page_path()), 0);
}

static void put_directory(void)
{
    cr_assert_eq(mkdir(page_path(), 0755), 0);
}

static void put_fifo(void)
{
    cr_assert_eq(mkfifo(page_path(), 0644), 0);
}

Test(token_copies, what_is_no_page_gives_way_to_one)
{
    static void (*const puts[])(void) = { put_link, put_directory, put_fifo };
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    for (size_t i = 0; i < COUNT_OF(puts); i++) {
        puts[i]();
        cr_expect_eq(verify_anew("solo_"), STATUS_UNAUTHENTICATED);
        token_text_draw(text);
        cr_expect_eq(verify_anew(text), STATUS_UNAVAILABLE);
        cr_expect_not(start_tokend());
        store_voucher_give(&voucher, &writer);
        grant(text, "acme", 1, 0);
        cr_expect_eq(verify(text, &caller), STATUS_OK, "%zu", i);
        cr_assert_eq(unlink(page_path()), 0);
    }
}

Test(token_copies, without_a_page_its_owner_alone_believes_the_store)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller = { 0 };
    struct token_map attached;
    block_page();
    make_store();
    grant(text, "acme", 1, 0);
    cr_expect_not(store_voucher_is_written(&voucher));
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    cr_assert_eq(token_map_attach(&attached, &writer, &voucher), STATUS_OK);
    cr_expect_eq(attached.verifier.verify(&attached, span_of_text(text), &caller), STATUS_OK);
    token_map_close(&attached);
    cr_assert_eq(directory_remove(page_path()), STATUS_OK);
    store_voucher_keep(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
}
