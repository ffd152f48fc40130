"""What builds on lamina through its public hooks and API alone.

=========  ==========================================================================================================
``trace``  `lamina trace COMMAND…`: which layer operations a command performs, and how long each takes
=========  ==========================================================================================================
"""
