"""The words of which values of slots are made. Written for Pairsmith; they are ordinary names of software projects."""

from __future__ import annotations


def of(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


TERMS = of(
    """
    login logout signup search index cache queue worker parser lexer router proxy session token
    cookie payment invoice billing cart checkout order basket report export import upload download
    sync backup restore archive migrate schema table column row query filter sort paging scroll
    layout theme color font icon button menu sidebar header footer modal dialog form field label
    input output config settings profile avatar account user group role access audit logger metrics
    tracing alerts monitor health retry timeout limit quota budget timer clock calendar events
    webhook mailer sms push socket stream buffer chunk frame packet codec image video audio player
    editor viewer canvas chart graph tree node edge path route map geo weather sensor device driver
    kernel memory disk network wifi radio engine gearbox brake wheel robot drone camera lens light
    shadow texture mesh shader physics vector matrix tensor model trainer dataset sampler tokenizer
    embedding ranking score judge review comment thread inbox chat message contact address country
    city price tax coupon stock shipping tracker parcel ticket seat flight hotel booking garden
    recipe kitchen lunch tea coffee quiet river amber copper silver lemon maple cedar falcon otter
    badger comet orbit lunar solar north harbor island meadow canyon summit glacier ember thunder
    pixel widget gadget plugin theme2 locale i18n docs tests demo sandbox staging nightly hotfix
    cleanup refactor typo readme license changelog ci docker build deploy release
    """
)
BRANCH_PREFIXES = of(
    """
    feature feature fix bugfix hotfix chore docs test wip user experiment topic
    """
)
TICKETS = of(
    """
    JIRA APP WEB OPS BUG CORE TEAM PROJ DEV QA
    """
)
REMOTES = of(
    """
    origin upstream backup fork mirror github gitlab work home staging production team
    """
)
HOSTS = of(
    """
    example.com example.org example.net github.com gitlab.com bitbucket.org codeberg.org
    """
)
DOMAINS = of(
    """
    com org net dev io example test
    """
)
PLAIN_FILES = of(
    """
    README LICENSE CHANGELOG TODO NOTES CONTRIBUTING AUTHORS INSTALL Makefile notes
    """
)
EXTENSIONS = of(
    """
    py js ts go rs c h cpp java kt rb php css html md txt json toml yaml xml sql sh csv ini cfg lua
    vue
    """
)
FOLDERS = of(
    """
    src lib docs tests app web api core tools scripts config assets data include examples server
    client
    """
)
MESSAGE_VERBS = of(
    """
    Fix Add Remove Update Rename Improve Document Test Move Simplify Refactor Revert Speed-up
    Correct Drop Extend
    """
)
THINGS = tuple(
    thing.replace("_", " ")
    for thing in of(
        """
        login_form unit_tests error_handling search_box date_parser cache_size broken_link dark_theme
        retry_loop start_page user_settings memory_leak typo spelling license_header build_script
        install_guide default_values log_level price_table photo_upload export_button crash_on_start
        slow_query password_check API_client release_notes old_tests unused_imports empty_state
        time_zone color_scheme image_loader backup_job mail_template table_layout config_file
        session_timeout shopping_cart invoice_total tooltips translations header_bar key_bindings
        """
    )
)
FIRST_NAMES = of(
    """
    Ada Alan Grace Linus Marie Nils Olga Priya Quentin Rosa Sven Tara Umar Vera Wei Ximena Yuki Zoe
    Amir Bella Carlos Dana Emil Fatima Goran Hanna Ivan Jana Kofi Lena Mateo Nadia Omar Paula Ravi
    Sofia Tomas Ulla Viktor Wanda
    """
)
LAST_NAMES = of(
    """
    Moreno Novak Okafor Lindgren Tanaka Silva Kumar Weber Rossi Dubois Haddad Larsen Kowalski Murphy
    Petrov Chen Garcia Yilmaz Berg Costa Fischer Nguyen Santos Keller Ortiz Popescu Singh Virtanen
    Walsh Zhang Adeyemi Brandt
    """
)
