# Every library comes from Debian; one imported target each, so that a folder names what it uses.
find_package(PkgConfig REQUIRED)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(nettle REQUIRED IMPORTED_TARGET nettle)
pkg_search_module(msgpack REQUIRED IMPORTED_TARGET msgpack-c msgpack)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(smartcols REQUIRED IMPORTED_TARGET smartcols)
pkg_check_modules(inih REQUIRED IMPORTED_TARGET inih)

# libev and uthash ship no .pc file.
find_path(EV_INCLUDE ev.h REQUIRED)
find_library(EV_LIBRARY ev REQUIRED)
add_library(ev INTERFACE)
target_include_directories(ev SYSTEM INTERFACE ${EV_INCLUDE})
target_link_libraries(ev INTERFACE ${EV_LIBRARY})
find_path(UTHASH_INCLUDE uthash.h REQUIRED)

if(SOLO_TESTS)
    pkg_check_modules(criterion REQUIRED IMPORTED_TARGET criterion)
endif()

# A supervisor is started for every tenant of a recovery: what the dynamic linker does for it is the
# larger part of its start. So the libraries of the daemons are taken as archives where they exist, and
# solo_program(... STATIC) links a program without the dynamic linker where SOLO_HAS_STATIC_PIE says
# that this works.
set(SOLO_HAS_STATIC_PIE OFF)
if(SOLO_STATIC AND NOT SOLO_SANITIZE AND NOT SOLO_FUZZ)
    set(archives_missing OFF)
    foreach(target PkgConfig::lmdb PkgConfig::sodium PkgConfig::nettle PkgConfig::msgpack PkgConfig::jansson PkgConfig::inih ev)
        get_target_property(shared ${target} INTERFACE_LINK_LIBRARIES)
        string(REGEX REPLACE "[.]so$" ".a" archive "${shared}")
        if(archive MATCHES "[.]a$" AND EXISTS "${archive}")
            set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${archive}")
        else()
            set(archives_missing ON)
        endif()
    endforeach()
    include(CheckCSourceCompiles)
    set(CMAKE_REQUIRED_LINK_OPTIONS -static-pie)
    check_c_source_compiles("#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }" SOLO_STATIC_PIE_LINKS)
    unset(CMAKE_REQUIRED_LINK_OPTIONS)
    if(SOLO_STATIC_PIE_LINKS AND NOT archives_missing)
        set(SOLO_HAS_STATIC_PIE ON)
    endif()
endif()
