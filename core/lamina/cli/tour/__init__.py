"""What ``lamina demo`` shows: a real root filesystem, layers on top of it, containers, and what other tools say to the result.

=============  =======================================================================================
``stage``      how a step looks: what is done, by which command, with what result
``roots``      where a real root filesystem comes from
``acts``       the steps themselves, in their order
``witnesses``  what skopeo and umoci say
=============  =======================================================================================
"""
